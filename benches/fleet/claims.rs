//! What a claim costs as the queue grows, against one reading and one durable writing of the same file.

use std::{fs, time::Instant};

use oodatcaa_core::layout::Layout;
use oodatcaa_core::{ChangeSet, Role, Workflow, claim};
use oodatcaa_store::{Desk, LOCK_WAIT, identity};

use crate::{
    contention::claimant,
    dispatch::durably,
    support::{Project, Spread, quick, rounds, tasks},
    table::{Table, Target},
};

const SECTION: &str = "One claim as the queue grows";

fn millis(begun: Instant) -> f64 {
    begun.elapsed().as_secs_f64() * 1000.0
}

fn open(project: &Project) -> Desk {
    let layout = Layout::new(project.root());
    oodatcaa_store::open(layout.root(), &layout, Some(identity("bench@here")), LOCK_WAIT).expect("a store")
}

pub(crate) fn claims(table: &mut Table) {
    let workflow = Workflow::shipped();
    for count in [10, 100, 1_000, 10_000, 100_000] {
        if count > 10_000 && quick() {
            table.note("claims at 100,000 tasks: not in a quick run");
            continue;
        }
        let project = Project::new(&["true"]);
        let text = tasks(1, count - 1, 400);
        project.put(&text);
        let store = open(&project);
        let me = claimant(&Role::BUILDER, "bench@here", true);
        // The first look takes the baseline; a worker has had it long since.
        let begun = Instant::now();
        store.transact(&mut |_| ChangeSet::none()).expect("a baseline");
        let cold = millis(begun);
        let (mut floor, mut ours) = (Vec::new(), Vec::new());
        for n in 0..rounds(if count > 1_000 { 9 } else { 40 }, 5) {
            // Somebody else makes another task ready, and so replaces the file.
            project.put(&text.replace("R000000", &format!("N{n:06}")));
            let begun = Instant::now();
            let mut claimed = false;
            store
                .transact(&mut |snapshot| match claim::decide(snapshot, &workflow, &me) {
                    Ok((changes, _)) => {
                        claimed = true;
                        changes
                    }
                    Err(_) => ChangeSet::none(),
                })
                .expect("committed");
            ours.push(millis(begun));
            assert!(claimed, "there is always one to claim");

            let begun = Instant::now();
            let read = fs::read_to_string(project.queue()).expect("read");
            durably(&project.path("temp"), &project.path("floor.json"), &read);
            floor.push(millis(begun));
        }
        let (floor, ours) = (Spread::of(floor), Spread::of(ours));
        let ratio = ours.at(0.5) / floor.at(0.5);
        let words = format!("{count} tasks, {:.1} MB (the first reading took {cold:.1} ms)", text.len() as f64 / 1e6);
        let name = format!("read + durable write, {:.2} ms", floor.at(0.5));
        let target = if count >= 10_000 { Target::AtMost(1.5) } else { Target::None };
        table.ratio(SECTION, words, &ours, "ms", (&name, ratio), target);
    }
}

/// A look at files that nobody has touched.
pub(crate) fn unchanged(table: &mut Table) {
    for count in [10, if quick() { 1_000 } else { 100_000 }] {
        let project = Project::new(&["true"]);
        project.put(&tasks(1, count - 1, 400));
        let store = open(&project);
        store.transact(&mut |_| ChangeSet::none()).expect("a baseline");
        // What has just been written is compared, because a further change could bear the same times.
        std::thread::sleep(std::time::Duration::from_millis(250));
        store.read().expect("read");
        let looks = (0..200).map(|_| {
            let begun = Instant::now();
            let reading = store.read().expect("read");
            let took = begun.elapsed().as_secs_f64() * 1e6;
            assert_eq!(reading.snapshot.queue.len(), count);
            took
        });
        let looks = Spread::of(looks.collect());
        table.spread(SECTION, format!("a look that finds nothing changed, {count} tasks"), &looks, "µs");
    }
}
