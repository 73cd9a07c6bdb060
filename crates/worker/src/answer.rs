//! What a worker answers to other processes of its user.

use oodatcaa_core::control::{self, Attempt, Reply, Status, Verb};
use oodatcaa_process::caller;
use oodatcaa_sys::socket::Call;

use crate::worker::Worker;

impl Worker {
    /// Answers a question, and does what it asks for.
    pub(crate) fn answer(&mut self, call: Call) {
        let answered = control::answer(&call.line, |verb| match verb {
            Verb::Status => Reply { status: Some(self.status()), ..Reply::done() },
            Verb::Drain | Verb::Shutdown => match caller::of(call.pid) {
                Some(why) => Reply::refused(format!("only a person may do this, and {why}")),
                None if verb == Verb::Drain => {
                    self.drain();
                    Reply::done()
                }
                None => {
                    // A question asked twice is no second signal: nothing is killed for it.
                    if self.stopping.as_ref().is_none_or(|stopping| stopping.drains) {
                        let _ = self.stop();
                    }
                    Reply::done()
                }
            },
            Verb::Want { .. } => Reply::refused("a worker keeps no other workers"),
        });
        call.answer(answered);
    }

    fn status(&self) -> Status {
        let attempts = self.running.values().filter(|running| running.settlement.is_none());
        Status {
            kind: "worker".into(),
            name: self.shared.setup.name.clone(),
            pid: self.shared.setup.owner.pid,
            version: env!("CARGO_PKG_VERSION").into(),
            state: if self.stopping.is_some() { "stopping" } else { "running" }.into(),
            attempts: attempts
                .map(|running| Attempt { task: running.lease.task_id.clone(), token: running.lease.token })
                .collect(),
            workers: Vec::new(),
        }
    }
}
