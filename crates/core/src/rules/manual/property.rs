//! Whatever is asked in whatever order: running work is left alone, and asking twice is asking once.

use proptest::prelude::*;

use super::{
    tests::{flow, held, human, wanted},
    *,
};
use crate::{
    Holder,
    tests::{id, snapshot, task},
};

#[derive(Clone, Debug)]
enum Act {
    Move(usize, usize, bool),
    Retry(usize),
    Cancel(usize, bool),
    Block(usize),
    Unblock(usize, bool),
    Done(usize),
    Stop(usize),
    Clear(usize, bool),
    Add(usize),
}

fn acts() -> impl Strategy<Value = Act> {
    let task = 0..6usize;
    prop_oneof![
        (task.clone(), 0..20usize, any::<bool>()).prop_map(|(t, s, f)| Act::Move(t, s, f)),
        task.clone().prop_map(Act::Retry),
        (task.clone(), any::<bool>()).prop_map(|(t, s)| Act::Cancel(t, s)),
        task.clone().prop_map(Act::Block),
        (task.clone(), any::<bool>()).prop_map(|(t, f)| Act::Unblock(t, f)),
        task.clone().prop_map(Act::Done),
        task.clone().prop_map(Act::Stop),
        (task.clone(), any::<bool>()).prop_map(|(t, f)| Act::Clear(t, f)),
        task.prop_map(Act::Add),
    ]
}

/// Six tasks in any status, depending on earlier ones, some of them leased and at work.
fn fleets() -> impl Strategy<Value = Snapshot> {
    let one = (0..20usize, 0..64u8, any::<bool>(), any::<bool>());
    proptest::collection::vec(one, 6).prop_map(|rows| {
        let statuses = Workflow::shipped().statuses();
        let mut leased = Vec::new();
        let mut tasks: Vec<Task> = Vec::new();
        for (at, (status, dependencies, at_work, alive)) in rows.into_iter().enumerate() {
            let mut new = task(&format!("T{at}"), statuses[status % statuses.len()].clone());
            new.dependencies = (0..at).filter(|d| dependencies & (1 << d) != 0).map(|d| format!("T{d}")).collect();
            let done = |name: &String| tasks.iter().any(|t: &Task| t.id.as_str() == name && t.status.is_done());
            if at_work && new.dependencies.iter().all(done) {
                let rule = Workflow::shipped().rules()[at % 5].clone();
                new.status = rule.works;
                leased.push((new.id.to_string(), rule.role, alive));
            }
            tasks.push(new);
        }
        leased.into_iter().fold(snapshot(tasks), |snapshot, (task, role, alive)| {
            held(snapshot, &task, &role, 7, if alive { Holder::Alive } else { Holder::Dead("gone".into()) })
        })
    })
}

fn act(snapshot: &Snapshot, act: &Act) -> Answer {
    let (flow, actor) = (flow(), human());
    let name = |at: &usize| id(&format!("T{at}"));
    let statuses = flow.statuses();
    match act {
        Act::Move(at, to, force) => {
            move_to(snapshot, &flow, &name(at), &statuses[to % statuses.len()], Some("x"), *force, &actor)
        }
        Act::Retry(at) => retry(snapshot, &flow, &name(at), None, &actor),
        Act::Cancel(at, stop) => cancel(snapshot, &name(at), None, *stop, &actor),
        Act::Block(at) => block(snapshot, &name(at), "x", &actor),
        Act::Unblock(at, force) => unblock(snapshot, &flow, &name(at), None, None, *force, &actor),
        Act::Done(at) => done(snapshot, &name(at), "x", &actor),
        Act::Stop(at) => stop(snapshot, &name(at), "x", &actor),
        Act::Clear(at, force) => clear_mark(snapshot, &name(at), *force, None, &actor),
        Act::Add(at) => {
            add(snapshot, &flow, &Wanted { dependencies: vec![name(at).to_string()], ..wanted("new") }, &actor)
        }
    }
}

proptest! {
    #[test]
    fn nothing_a_person_does_breaks_running_work(start in fleets(), acts in proptest::collection::vec(acts(), 1..12)) {
        let mut now = start;
        for step in &acts {
            let Ok(changes) = act(&now, step) else { continue };
            let next = now.after(&changes);
            for (task, lease) in &now.leases {
                prop_assert_eq!(lease.token(), next.leases[task].token(), "{:?} took a lease away", step);
                let (was, is) = (now.queue.get(task).expect("there"), next.queue.get(task).expect("there"));
                prop_assert_eq!(&was.lease, &is.lease);
                let cancelled = matches!(step, Act::Cancel(_, true)) && is.status == Status::CANCELLED;
                prop_assert!(was.status == is.status || cancelled, "{:?} moved running {}", step, task);
                for name in &was.dependencies {
                    let done = |snapshot: &Snapshot| snapshot.queue.find(name).is_some_and(|t| t.status.is_done());
                    prop_assert!(!done(&now) || done(&next), "{:?} took {} away from {}", step, name, task);
                }
            }
            for task in next.queue.tasks() {
                let was = now.queue.get(&task.id).map(|task| &task.status);
                let works = flow().working(&task.status).is_some();
                prop_assert!(was == Some(&task.status) || !works, "{:?} moved {} into a working status", step, task.id);
            }
            now = next;
        }
    }

    #[test]
    fn asking_twice_changes_nothing_more(start in fleets(), step in acts()) {
        if matches!(step, Act::Add(_)) {
            return Ok(());
        }
        if let Ok(changes) = act(&start, &step) {
            let once = start.after(&changes);
            if let Ok(again) = act(&once, &step) {
                prop_assert!(again.is_empty(), "{:?} twice: {:?}", step, again);
            }
        }
    }
}
