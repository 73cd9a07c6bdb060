//! What workers cost while there is nothing to do, and how soon they are ready.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    time::{Duration, Instant},
};

use crate::{
    support::{DAEMON, Project, Running, Spread, quick, rounds, tasks, timed},
    table::{Table, Target},
};

const SECTION: &str = "Idle";

/// Memory, wake-ups and processor time of five idle workers.
pub(crate) fn idle(table: &mut Table) {
    let time = Duration::from_secs(if quick() { 4 } else { 60 });
    let project = Project::new(&["true"]);
    project.put(&tasks(0, 10, 0));
    let roles = ["planner", "builder", "tester", "refiner", "integrator"];
    let daemons: Vec<Running> = roles.iter().map(|role| project.daemon(role, &["--interval", "1h"])).collect();
    // The workers that started first have seen the others' start; let that pass.
    std::thread::sleep(Duration::from_secs(1));
    let before: Vec<(u64, u64)> = daemons.iter().map(|daemon| activity(daemon.0.id())).collect();
    std::thread::sleep(time);
    let (mut pss, mut rss, mut own, mut wakes, mut nanos) = (0, 0, 0, 0, 0);
    for (daemon, before) in daemons.iter().zip(before) {
        let after = activity(daemon.0.id());
        wakes += after.0 - before.0;
        nanos += after.1 - before.1;
        let memory = memory(daemon.0.id());
        let of = |key: &str| memory.get(key).copied().unwrap_or_default();
        pss += of("Pss");
        own = own.max(of("Private_Dirty"));
        rss = rss.max(of("Rss"));
    }
    let (minutes, mega) = (time.as_secs_f64() / 60.0, |kilo: u64| kilo as f64 / 1024.0);
    table.plain(SECTION, "PSS of five workers together", mega(pss), "MB", Target::AtMost(10.0));
    table.plain(
        SECTION,
        "RSS of the largest, pages of the program's file included",
        mega(rss),
        "MB",
        Target::AtMost(4.0),
    );
    table.plain(SECTION, "of that its own, written to", mega(own), "MB", Target::None);
    table.plain(SECTION, "wake-ups of five a minute, watching", wakes as f64 / minutes, "", Target::AtMost(0.0));
    table.plain(SECTION, "processor time of five a minute", nanos as f64 / 1e6 / minutes, "ms", Target::AtMost(20.0));
    let size = fs::metadata(DAEMON).map_or(0, |meta| meta.len());
    table.plain(SECTION, "agent-daemon on disk", size as f64 / 1e6, "MB", Target::AtMost(6.0));
}

/// From exec to "watches", with ten tasks; a process that does nothing is started beside it.
pub(crate) fn start(table: &mut Table) {
    let project = Project::new(&["true"]);
    project.put(&tasks(0, 10, 0));
    let log = project.path("builder.log");
    let (mut ours, mut floor) = (Vec::new(), Vec::new());
    for _ in 0..rounds(60, 10) {
        floor.push(timed(&mut project.command("true")));
        let file = File::create(&log).expect("a log");
        let begun = Instant::now();
        let child =
            project.command(DAEMON).args(["--role", "builder"]).stderr(file).spawn().expect("the daemon starts");
        let daemon = Running(child);
        while !fs::read_to_string(&log).is_ok_and(|text| text.contains(" watches ")) {
            std::thread::sleep(Duration::from_micros(50));
        }
        ours.push(begun.elapsed().as_secs_f64() * 1000.0);
        drop(daemon);
    }
    let (floor, ours) = (Spread::of(floor), Spread::of(ours));
    let ratio = ours.at(0.5) / floor.at(0.5);
    table.spread(SECTION, "floor: `true`, from start to end", &floor, "ms");
    table.ratio(SECTION, "start to ready, 10 tasks", &ours, "ms", ("floor", ratio), Target::None);
    table.plain(SECTION, "start to ready, the median", ours.at(0.5), "ms", Target::AtMost(3.0));
}

/// Times that threads went to sleep by themselves, and processor time in nanoseconds.
fn activity(pid: u32) -> (u64, u64) {
    let (mut switches, mut nanos) = (0, 0);
    for thread in fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten() {
        let status = fs::read_to_string(thread.path().join("status")).unwrap_or_default();
        switches += status
            .lines()
            .filter(|line| line.starts_with("voluntary_ctxt_switches"))
            .filter_map(|line| line.split_whitespace().nth(1)?.parse::<u64>().ok())
            .sum::<u64>();
        let spent = fs::read_to_string(thread.path().join("schedstat")).unwrap_or_default();
        nanos += spent.split_whitespace().next().and_then(|word| word.parse::<u64>().ok()).unwrap_or_default();
    }
    (switches, nanos)
}

fn memory(pid: u32) -> BTreeMap<String, u64> {
    let text = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap_or_default();
    text.lines()
        .filter_map(|line| {
            let (name, rest) = line.split_once(':')?;
            Some((name.to_owned(), rest.split_whitespace().next()?.parse().ok()?))
        })
        .collect()
}
