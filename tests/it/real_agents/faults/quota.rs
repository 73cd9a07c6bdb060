//! Quota that is used up: one refusal is enough for everybody, until it is back or somebody else can work.

use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta, Utc};
use oodatcaa_core::time::stamp;
use serde_json::{Value, json};

use super::{Program, Shop, assert_uncharged, builds, time};
use crate::{endpoint::Seen, support::eventually};

#[test]
fn a_used_up_window_stops_every_worker_until_its_reset_and_then_one_probe_goes_first() {
    // The first to ask after the reset is refused once more.
    let again = "faults = [{ status = 429, kind = \"window\", resets_in = 8, first = 1 }, { status = 429, kind = \"window\", resets_in = 3, after = 1, first = 1 }]";
    let once = "faults = [{ status = 429, kind = \"window\", resets_in = 8, first = 1 }]";
    let rules = [("B1", ""), ("B2", again), ("B3", once), ("B4", ""), ("B5", "")];
    let script: String = rules.iter().map(|(task, faults)| builds(task, faults)).collect();
    let Some(mut shop) = Shop::open(&[Program::Claude], &script, "") else { return };
    shop.queue(2, &["B1"]);
    shop.project.start("builder", &["--owner", "one"]);
    shop.project.start("builder", &["--owner", "two"]);
    shop.project.wait_for("B1", "awaiting_test");
    let rest = ["B2", "B3", "B4", "B5"];
    shop.add(&rest);

    shop.wait_for_ends("B2", 1);
    shop.wait_for_ends("B3", 1);
    let until = closed_until(&shop);
    assert!(shop.project.leases().is_empty(), "{}", shop.said());
    for task in rest {
        let why = shop.why(task);
        let sentence = why["sentence"].as_str().expect("a sentence");
        let words = ["claude/default/claude-sonnet-4-5", &stamp(until)];
        assert!(words.iter().all(|word| sentence.contains(word)), "{why}");
        assert_eq!((why["rule"].as_str(), why["status"].as_str()), (Some("failure"), Some("ready")), "{why}");
    }
    assert!(Utc::now() < until, "all of that was looked at before the reset: {}", shop.said());

    rest.iter().for_each(|task| shop.project.wait_for(task, "awaiting_test"));
    rest.iter().for_each(|task| assert_uncharged(&shop, task));
    let seen = shop.endpoint.seen();
    let limits: Vec<_> = seen.iter().filter(|seen| seen.answer == "429").collect();
    assert_eq!(limits.len(), 3, "one for each of the two that were at work, and the probe's: {}", shop.said());
    assert_nobody_asks(&shop, limits[1], until);
    assert_nobody_asks(&shop, limits[2], closed_until(&shop));
    // The first claim after a reset is the probe, the others come when the provider has answered.
    let events = shop.project.events();
    let kinds: Vec<&str> = events
        .iter()
        .filter(|event| time(&event["time"]) >= until)
        .filter_map(|event| match event["type"].as_str() {
            Some("oodatcaa.lease.acquired.v1") if event["data"]["probe"] == true => Some("probe"),
            Some("oodatcaa.lease.acquired.v1") => Some("claim"),
            Some("oodatcaa.agent.limited.v1") => Some("limited"),
            Some("oodatcaa.agent.resumed.v1") => Some("resumed"),
            _ => None,
        })
        .collect();
    assert_eq!(kinds, ["probe", "limited", "probe", "resumed", "claim", "claim", "claim"], "{}", shop.said());
    assert_eq!(shop.endpoint.outside(), Vec::<String>::new(), "nothing left the machine");
}

/// Until when the pool was closed last.
fn closed_until(shop: &Shop) -> DateTime<Utc> {
    let limits = shop.project.events_of("agent.limited");
    time(&limits.last().unwrap_or_else(|| panic!("a limit: {}", shop.said()))["data"]["until"])
}

#[track_caller]
fn assert_nobody_asks(shop: &Shop, limit: &Seen, until: DateTime<Utc>) {
    let next = shop.endpoint.seen().into_iter().find(|seen| seen.n > limit.n).expect("work went on");
    let (next, n) = (shop.time(&next), limit.n);
    assert!(next >= until, "request {n} was limited until {until}, the next came at {next}: {}", shop.said());
}

#[test]
fn a_short_limit_that_the_program_waits_out_by_itself_holds_the_others_as_well() {
    // Who pays by use is told how many seconds to wait, and has no window.
    let script = builds("B1", "faults = [{ status = 429, retry_after = 6, first = 1 }]") + &builds("B2", "");
    let key = |set: &mut BTreeMap<String, String>| {
        set.remove("CLAUDE_CODE_OAUTH_TOKEN");
        set.insert("ANTHROPIC_API_KEY".into(), "no-key-at-all".into());
    };
    let Some(mut shop) = Shop::open_as(&[Program::Claude], &script, "", key) else { return };
    shop.queue(2, &["B1"]);
    shop.project.start("builder", &[]);
    eventually("the pool is closed", || shop.project.events_of("agent.limited").pop());
    let until = closed_until(&shop);
    shop.add(&["B2"]);
    eventually("the worker has seen it", || shop.project.log("builder", 0).contains("is used up until").then_some(()));
    let why = shop.why("B2");
    assert!(why["sentence"].as_str().is_some_and(|sentence| sentence.contains(&stamp(until))), "{why}");
    for task in ["B1", "B2"] {
        shop.project.wait_for(task, "awaiting_test");
        assert_uncharged(&shop, task);
    }
    assert_eq!((shop.ends("B1").len(), shop.ends("B2").len()), (1, 1), "nobody was ended: {}", shop.said());
    let limit = shop.endpoint.seen().into_iter().find(|seen| seen.answer == "429").expect("a limit");
    // The program counts from its answer, and tells it a moment later.
    assert_nobody_asks(&shop, &limit, until - TimeDelta::seconds(1));
    let early: Vec<Seen> = shop.asked_for("B2").into_iter().filter(|seen| shop.time(seen) < until).collect();
    assert!(early.is_empty(), "{early:?} {}", shop.said());
}

#[test]
fn codex_without_quota_waits_and_a_human_may_open_its_pool_again() {
    let script =
        builds("B1", "faults = [{ status = 429, kind = \"window\", resets_in = 7200, first = 1 }]") + &builds("B2", "");
    let Some(mut shop) = Shop::open(&[Program::Codex], &script, "") else { return };
    shop.queue(1, &["B1", "B2"]);
    let before = Utc::now();
    shop.project.start("builder", &[]);
    let ends = shop.wait_for_ends("B1", 1);
    assert_eq!(ends[0]["data"]["class"], "usage_limit", "{}", shop.said());
    let limits = shop.project.events_of("agent.limited");
    assert_eq!((limits.len(), limits[0]["data"]["pool"].as_str()), (1, Some("codex/default/gpt-5")), "{}", shop.said());
    // Codex tells the minute only; its end is awaited.
    let wait = (time(&limits[0]["data"]["until"]) - before).num_seconds();
    assert!((7_200..=7_300).contains(&wait), "{wait} s: {}", shop.said());
    for task in ["B1", "B2"] {
        let why = shop.why(task);
        assert!(why["sentence"].as_str().is_some_and(|sentence| sentence.contains("codex/default/gpt-5")), "{why}");
    }
    assert_eq!(shop.endpoint.seen().len(), 1, "{}", shop.said());
    let pools = || {
        let status: Value = serde_json::from_str(&shop.agentctl(&["status", "--json"])).expect("an object");
        status["pools"].clone()
    };
    let (closed, until) = (pools(), &limits[0]["data"]["until"]);
    assert_eq!(
        (&closed[0]["pool"], &closed[0]["until"], &closed[0]["state"]),
        (&limits[0]["data"]["pool"], until, &json!("closed"))
    );
    // By its own name or by its agent's; a name that nobody knows is said to be none.
    let strange = shop.project.command("agentctl").args(["agent", "reopen", "codex/default/gpt-4"]).output();
    assert_eq!(strange.expect("agentctl runs").status.code(), Some(3));
    shop.agentctl(&["agent", "reopen", "codex/default/gpt-5", "--dry-run"]);
    assert_eq!(pools(), closed);
    shop.agentctl(&["agent", "reopen", "codex"]);
    assert_eq!(pools(), json!([]));
    for task in ["B1", "B2"] {
        shop.project.wait_for(task, "awaiting_test");
        assert_uncharged(&shop, task);
    }
    assert!(
        shop.project.events_of("agent.resumed")[0]["actor"].as_str().is_some_and(|actor| actor.starts_with("human:"))
    );
}

#[test]
fn the_second_agent_of_a_chain_takes_over_while_the_pool_of_the_first_is_closed() {
    let window = "model = \"claude-sonnet-4-5\"\nfaults = [{ status = 429, kind = \"window\", resets_in = 3600 }]";
    let script = builds("B1", window) + &builds("B1", "") + &builds("B2", "");
    let chain = "roles.builder.agents = [\"claude\", \"codex\"]\n";
    let Some(mut shop) = Shop::open(&[Program::Claude, Program::Codex], &script, chain) else { return };
    shop.queue(1, &["B1", "B2"]);
    shop.project.start("builder", &[]);
    for task in ["B1", "B2"] {
        shop.project.wait_for(task, "awaiting_test");
        assert_uncharged(&shop, task);
    }
    let by: Vec<(String, String)> = shop
        .project
        .events_of("lease.acquired")
        .iter()
        .map(|event| {
            (event["task"].as_str().unwrap_or_default().into(), event["data"]["by"].as_str().unwrap_or_default().into())
        })
        .collect();
    let wanted =
        [("B1", "claude"), ("B1", "codex"), ("B2", "codex")].map(|(task, by)| (task.to_owned(), by.to_owned()));
    assert_eq!(by, wanted, "{}", shop.said());
    let models: Vec<String> = shop.endpoint.seen().into_iter().map(|seen| seen.model).collect();
    assert_eq!(models, ["claude-sonnet-4-5", "gpt-5", "gpt-5", "gpt-5", "gpt-5"], "{}", shop.said());
}
