//! What may have been meant by a name that is not there.

use super::{ErrorKind, Failure};
use oodatcaa_core::{
    Queue,
    text::{cut, near, one_line},
};

/// Returns the failure for a task that is not in the queue, with those that may have been meant.
pub(crate) fn no_task(id: &str, queue: &Queue) -> Failure {
    let id = cut(&one_line(id), 80);
    let failure = Failure::new(ErrorKind::NotFound, format!("there is no task `{id}`"));
    match near(&id, queue.tasks().map(|task| task.id.as_str())).as_slice() {
        [] => failure.hint("see which there are: agentctl ls --all"),
        [near] => failure.hint(format!("the nearest is {near}: agentctl show {near}")),
        near => failure.hint(format!("the nearest are {}: agentctl show {}", near.join(", "), near[0])),
    }
}
