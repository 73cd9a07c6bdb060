//! What `agentctl stats` counts, against a recount of the journal's own lines.

use std::fs;

use serde_json::{Value, json};

use crate::support::Project;

fn stats(project: &Project, args: &[&str]) -> Value {
    let output = project.command("agentctl").args(["stats", "--json"]).args(args).output().expect("agentctl");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).expect("JSON")
}

fn said(project: &Project, args: &[&str]) -> String {
    let output = project.command("agentctl").arg("stats").args(args).output().expect("agentctl");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("UTF-8")
}

/// A journal of our own making: `done` tasks that waited a minute each for a builder that took two, three and so on
/// seconds, at a tenth of a dollar each; then one that failed, and one that is simulated.
fn journal(project: &Project, done: u32) {
    let mut lines = String::new();
    let mut seq = 0;
    let mut tell = |kind: &str, at: u32, task: &str, more: Value| {
        seq += 1;
        let mut event = json!({
            "specversion": "1.0", "id": seq.to_string(), "source": "//h/p", "type": format!("oodatcaa.{kind}.v1"),
            "subject": format!("task/{task}"), "seq": seq, "task": task, "actor": "worker:w@h",
            "time": format!("2026-01-05T{:02}:{:02}:{:02}.000Z", at / 3_600, at / 60 % 60, at % 60),
        });
        event.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        lines.push_str(&format!("{event}\n"));
    };
    let attempt = |token: u32| json!({"role": "builder", "attempt": 1, "token": token});
    let with = |data: Value| {
        let mut all = attempt(1);
        all["data"] = data;
        all
    };
    for n in 0..done {
        let (task, begun) = (format!("T{n}"), 600 * (n + 1));
        tell("task.created", begun - 60, &task, json!({"data": {"to": "ready", "title": task}}));
        tell("task.moved", begun, &task, with(json!({"from": "ready", "to": "in_progress"})));
        tell("lease.acquired", begun, &task, with(json!({"owner": "w@h", "by": "claude"})));
        let took = n + 2;
        let usage = json!({"outcome": "done", "seconds": took, "cost_usd": 0.1, "tokens_in": 10, "tokens_out": 5});
        tell("attempt.finished", begun + took, &task, with(usage));
        tell("task.moved", begun + took, &task, with(json!({"from": "in_progress", "to": "done"})));
    }
    let late = 600 * (done + 1);
    tell("lease.acquired", late, "BAD", with(json!({"owner": "w@h", "by": "codex"})));
    let red = json!({"outcome": "failed", "class": "gate_failed", "charged": true, "failure": true, "reason": "red"});
    tell("attempt.finished", late + 9, "BAD", with(red));
    let mut simulated = with(json!({"owner": "w@h", "by": "sim"}));
    simulated["simulated"] = true.into();
    tell("lease.acquired", late + 20, "SIM", simulated.clone());
    simulated["data"] = json!({"outcome": "done", "seconds": 1, "cost_usd": 99.0});
    tell("attempt.finished", late + 30, "SIM", simulated);
    tell("task.moved", late + 30, "SIM", json!({"data": {"from": "in_progress", "to": "done"}}));
    fs::write(project.path(".oodatcaa/work/events.jsonl"), lines).unwrap();
}

fn project(done: u32) -> Project {
    let project = Project::that_succeeds();
    project.queue(json!([{"id": "BAD", "title": "it fails", "status": "ready"}]));
    journal(&project, done);
    project
}

fn group<'a>(stats: &'a Value, name: &str) -> &'a Value {
    let groups = stats["groups"].as_array().expect("groups");
    groups.iter().find(|group| group["name"] == name).unwrap_or_else(|| panic!("no {name}: {stats:#}"))
}

const LONG: &[&str] = &["--since", "2026-01-01"];

#[test]
fn figures_are_those_of_the_journal_and_simulated_work_is_left_out_and_said() {
    let project = project(20);
    let told = stats(&project, LONG);
    assert_eq!((&told["schema"], &told["done"]), (&json!("oodatcaa/stats.v1"), &json!(20)), "{told:#}");
    // They took 2 to 21 seconds.
    let cycle = json!({"n": 20, "p50_seconds": 11.0, "p95_seconds": 20.0, "p99_seconds": 21.0, "max_seconds": 21.0});
    assert_eq!(told["cycle"], cycle, "{told:#}");
    assert_eq!((&told["waiting"]["n"], &told["waiting"]["p50_seconds"]), (&json!(20), &json!(60.0)));
    assert_eq!(told["lead"]["p50_seconds"], 71.0);
    let builder = group(&told, "builder");
    assert_eq!((&builder["attempts"], &builder["ok"], &builder["failed"]), (&json!(21), &json!(20), &json!(1)));
    assert!((builder["usd"].as_f64().expect("a price") - 2.0).abs() < 1e-6, "{builder}");
    assert_eq!((&builder["unpriced"], &builder["tokens"]), (&json!(1), &json!(300)));
    assert_eq!(told["failures"], json!([{"class": "gate_failed", "count": 1}]));
    assert_eq!(told["simulated_left_out"], 1);
    assert_eq!(told["bottlenecks"][0]["role"], "builder");
    let slowest: Vec<&str> =
        told["slowest"].as_array().unwrap().iter().filter_map(|slow| slow["task"].as_str()).collect();
    assert_eq!(slowest[..3], ["T19", "T18", "T17"]);
    assert!(said(&project, LONG).contains("1 simulated attempt left out"));

    let with = stats(&project, &[LONG, &["--simulated"]].concat());
    assert_eq!((&with["done"], &with["simulated_included"]), (&json!(21), &json!(true)));
    for (by, names) in
        [("agent", &["claude", "codex"][..]), ("day", &["2026-01-05"]), ("class", &["done", "gate_failed"])]
    {
        let told = stats(&project, &[LONG, &["--by", by]].concat());
        let found: Vec<&str> = told["groups"].as_array().unwrap().iter().filter_map(|g| g["name"].as_str()).collect();
        assert_eq!(found, names, "{by}");
    }
    assert_eq!(group(&stats(&project, &[LONG, &["--by", "agent"]].concat()), "codex")["usd"], Value::Null);
    let later = stats(&project, &["--since", "2026-02-01"]);
    assert_eq!((&later["done"], &later["groups"]), (&json!(0), &json!([])), "{later:#}");
}

#[test]
fn of_fewer_than_five_no_percentile_is_told() {
    let project = project(3);
    let told = stats(&project, LONG);
    assert_eq!((&told["cycle"]["n"], &told["cycle"]["p50_seconds"]), (&json!(3), &Value::Null));
    let text = said(&project, LONG);
    assert!(text.contains("first claim to end\t\t\t\t3"), "{text}");
}

#[test]
fn the_groups_are_a_table_for_spreadsheets() {
    let text = said(&project(6), &[LONG, &["--format", "csv"]].concat());
    let lines: Vec<&str> = text.split("\r\n").collect();
    assert!(lines[0].starts_with("role,attempts,ok,failed,p50_seconds"), "{text}");
    assert!(lines[1].starts_with("builder,7,6,1,"), "{text}");
    assert!(lines.iter().filter(|line| !line.is_empty()).all(|line| line.split(',').count() == 11), "{text}");
}
