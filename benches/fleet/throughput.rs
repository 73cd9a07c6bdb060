//! Tasks that do nothing, as many a second as go through claim, run and settle, every commit durable.

use std::{
    io::Write,
    process::{Command, Stdio},
    time::Instant,
};

use crate::{
    peers,
    support::{Project, Spread, rounds, tasks, wait},
    table::{Table, Target},
};

pub(crate) fn throughput(table: &mut Table) {
    const SECTION: &str = "No-op tasks a second";
    let count = rounds(200, 60);
    for (slots, least) in [(1_usize, 0.35), (4, 0.55)] {
        let (mut floor, mut ours) = (Vec::new(), Vec::new());
        let mut theirs: Vec<(&str, Vec<f64>)> = Vec::new();
        for _ in 0..rounds(7, 2) {
            floor.push(spawn_floor(slots, count));
            ours.push(through_us(slots, count));
            for mut peer in peers::all(slots, table) {
                // It takes a third of a second for each.
                let count = if peer.name.starts_with("pueue") { count / 10 } else { count };
                let begun = Instant::now();
                (0..count).for_each(|_| peer.add(&["true"]));
                peer.finish(count);
                let rate = count as f64 / begun.elapsed().as_secs_f64();
                match theirs.iter_mut().find(|(name, _)| *name == peer.name) {
                    Some((_, rates)) => rates.push(rate),
                    None => theirs.push((peer.name, vec![rate])),
                }
            }
        }
        let words = if slots == 1 { "1 slot".to_owned() } else { format!("{slots} slots") };
        let (floor, ours) = (Spread::of(floor), Spread::of(ours));
        table.spread(SECTION, format!("spawn floor (`xargs -P {slots}`)"), &floor, "/s");
        let ratio = |rates: &Spread| rates.at(0.5) / floor.at(0.5);
        table.ratio(
            SECTION,
            format!("agent-daemon, {words}"),
            &ours,
            "/s",
            ("spawn floor", ratio(&ours)),
            Target::AtLeast(least),
        );
        for (name, rates) in theirs {
            let rates = Spread::of(rates);
            table.ratio(
                SECTION,
                format!("{name}, {words}"),
                &rates,
                "/s",
                ("spawn floor", ratio(&rates)),
                Target::None,
            );
        }
    }
}

fn through_us(slots: usize, count: usize) -> f64 {
    let project = Project::new(&["true"]);
    project.put(&tasks(0, 1, 0));
    let _daemon = project.daemon("builder", &["--interval", "1h", "--slots", &slots.to_string()]);
    project.prepare(&tasks(count, 0, 0));
    let begun = Instant::now();
    project.put_prepared();
    wait(|| std::fs::read_to_string(project.queue()).is_ok_and(|text| text.matches("awaiting_test").count() == count));
    count as f64 / begun.elapsed().as_secs_f64()
}

fn spawn_floor(slots: usize, count: usize) -> f64 {
    let begun = Instant::now();
    let mut spawner = Command::new("xargs")
        .args(["-P", &slots.to_string(), "-n", "1", "true"])
        .stdin(Stdio::piped())
        .spawn()
        .expect("xargs");
    {
        let mut input = spawner.stdin.take().expect("a pipe");
        (0..count).for_each(|n| writeln!(input, "{n}").expect("written"));
    }
    spawner.wait().expect("xargs ends");
    count as f64 / begun.elapsed().as_secs_f64()
}
