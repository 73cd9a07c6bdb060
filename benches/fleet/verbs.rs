//! The operator's commands with 2,000 tasks and a journal.

use serde_json::json;

use crate::{
    support::{CTL, DAEMON, Project, Spread, rounds, timed},
    table::{Table, Target},
};

pub(crate) fn verbs(table: &mut Table) {
    const SECTION: &str = "agentctl with 2,000 tasks";
    let project = Project::new(&["true"]);
    let mut list = Vec::new();
    for n in 0..2_000 {
        let depends: Vec<String> = if n % 10 == 0 { Vec::new() } else { vec![format!("T{:05}", n - 1)] };
        list.push(json!({"id": format!("T{n:05}"), "title": format!("task {n}"), "type": "Build",
            "status": if n % 3 == 0 { "done" } else { "ready" }, "priority": n % 7, "agent": null, "lease": null,
            "dependencies": depends, "description": "x".repeat(400)}));
    }
    project.put(&serde_json::to_string_pretty(&json!({"wip_limits": {"builder": 3}, "tasks": list})).expect("JSON"));
    project.command(DAEMON).args(["--role", "tester", "--once"]).status().expect("a baseline");
    let verbs = [&["ls"][..], &["why", "T00100"], &["status"], &["show", "T00100"], &["events"], &["doctor"]];
    let mut times: Vec<Vec<f64>> = verbs.iter().map(|_| Vec::new()).collect();
    let mut floor = Vec::new();
    for _ in 0..rounds(30, 5) {
        floor.push(timed(&mut project.command("true")));
        for (verb, times) in verbs.iter().zip(&mut times) {
            times.push(timed(project.command(CTL).args(*verb)));
        }
    }
    let floor = Spread::of(floor);
    table.spread(SECTION, "floor: `true`, from start to end", &floor, "ms");
    for (verb, times) in verbs.iter().zip(times) {
        let times = Spread::of(times);
        let ratio = times.at(0.5) / floor.at(0.5);
        table.ratio(SECTION, format!("agentctl {}", verb.join(" ")), &times, "ms", ("floor", ratio), Target::None);
    }
}
