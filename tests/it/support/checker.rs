//! Proves from the outside what a fleet promises: reads the journal and the queue as they lie there, with code
//! that shares nothing with the program's own reading of them.
//!
//! A worker that was killed between the queue and the journal leaves a gap there, which the next one fills with
//! `task.observed` (R15); whatever such an event leaves open is taken in the fleet's favour, and nothing else is.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

/// A role's working status, and where its success leads.
const ROLES: [(&str, &str, &[&str]); 5] = [
    ("planner", "planning", &["ready", "planning_complete"]),
    ("builder", "in_progress", &["awaiting_test"]),
    ("tester", "testing", &["ready_for_integrator"]),
    ("refiner", "adapting", &["ready"]),
    ("integrator", "integrating", &["done"]),
];

/// What a history proved to have happened.
#[derive(Debug, Default)]
pub(crate) struct Proved {
    /// The tokens whose result was accepted, per task.
    pub(crate) accepted: BTreeMap<String, Vec<u64>>,
    pub(crate) claims: usize,
    pub(crate) rescued: usize,
    pub(crate) superseded: usize,
    /// The most leases that a role had at once.
    pub(crate) most: usize,
}

#[derive(Default)]
struct Checker<'a> {
    limits: BTreeMap<&'a str, usize>,
    /// Who holds what: role and token.
    held: BTreeMap<&'a str, (&'a str, u64)>,
    newest: BTreeMap<&'a str, u64>,
    /// Tokens that were seen in a claim.
    claimed: BTreeSet<(&'a str, u64)>,
    superseded: BTreeSet<(&'a str, u64)>,
    /// What the journal says of each task.
    told: BTreeMap<&'a str, &'a str>,
    gone: BTreeSet<&'a str>,
    proved: Proved,
}

/// Reads a whole history; the error names the event and what it breaks.
pub(crate) fn check(events: &[Value], queue: &Value) -> Result<Proved, String> {
    let limits = queue["wip_limits"].as_object();
    let limits =
        limits.into_iter().flatten().filter_map(|(role, limit)| Some((role.as_str(), limit.as_u64()? as usize)));
    let mut checker = Checker { limits: limits.collect(), ..Checker::default() };
    for (at, event) in (1_u64..).zip(events) {
        if event["seq"].as_u64() != Some(at) {
            return Err(format!("the numbers have a gap before: {event}"));
        }
        checker.take(event).map_err(|wrong| format!("{wrong}: {event}"))?;
    }
    checker.end(queue)
}

impl<'a> Checker<'a> {
    fn take(&mut self, event: &'a Value) -> Result<(), String> {
        let kind = event["type"].as_str().unwrap_or_default();
        let kind = kind.strip_prefix("oodatcaa.").and_then(|kind| kind.strip_suffix(".v1")).ok_or("an unknown type")?;
        if kind == "queue.valid" {
            for (task, status) in event["data"]["statuses"].as_object().into_iter().flatten() {
                self.told.insert(task, status.as_str().unwrap_or_default());
            }
        }
        let Some(task) = event["task"].as_str() else { return Ok(()) };
        let token = event["token"].as_u64();
        let by_worker = event["actor"].as_str().is_some_and(|actor| actor.starts_with("worker:"));
        if let Some(token) = token.filter(|_| by_worker && kind != "lease.rescued") {
            if kind != "attempt.superseded" && self.superseded.contains(&(task, token)) {
                return Err(format!("token {token} was superseded and goes on"));
            }
            let newest = self.newest.get(task).copied().unwrap_or_default();
            if matches!(kind, "task.moved" | "task.updated" | "attempt.started" | "attempt.finished") && token < newest
            {
                return Err(format!("token {token} is not the newest, {newest} is"));
            }
        }
        match kind {
            "lease.acquired" => self.acquired(task, event, token.ok_or("a claim without a token")?)?,
            "lease.rescued" => {
                self.held.remove(task);
                self.proved.rescued += 1;
                if let Some(token) = token {
                    let newest = self.newest.entry(task).or_default();
                    *newest = token.max(*newest);
                }
            }
            "attempt.started" => {
                let token = token.ok_or("an attempt without a token")?;
                if !self.claimed.contains(&(task, token)) {
                    return Err(format!("token {token} was started before its claim was on disk"));
                }
            }
            "attempt.finished" => self.finished(task, event, token.ok_or("an attempt without a token")?)?,
            "attempt.superseded" => {
                let token = token.ok_or("an attempt without a token")?;
                self.superseded.insert((task, token));
                self.proved.superseded += 1;
                if self.newest.get(task).is_none_or(|newest| *newest <= token) {
                    return Err(format!("nothing newer than token {token} is known"));
                }
            }
            "task.created" | "task.moved" | "task.observed" => self.moved(kind, task, event),
            _ => {}
        }
        Ok(())
    }

    fn acquired(&mut self, task: &'a str, event: &'a Value, token: u64) -> Result<(), String> {
        let newest = self.newest.get(task).copied().unwrap_or_default();
        if token <= newest {
            return Err(format!("token {token} is not greater than {newest}"));
        }
        if let Some((_, holder)) = self.held.get(task) {
            return Err(format!("token {holder} still holds it"));
        }
        self.newest.insert(task, token);
        self.claimed.insert((task, token));
        self.proved.claims += 1;
        self.hold(task, event["role"].as_str().ok_or("a claim without a role")?, token)
    }

    fn hold(&mut self, task: &'a str, role: &'a str, token: u64) -> Result<(), String> {
        self.held.insert(task, (role, token));
        let count = self.held.values().filter(|(by, _)| *by == role).count();
        self.proved.most = self.proved.most.max(count);
        match self.limits.get(role).copied().unwrap_or(1) {
            limit if count > limit => Err(format!("{count} leases of {role}, {limit} are allowed")),
            _ => Ok(()),
        }
    }

    fn finished(&mut self, task: &'a str, event: &Value, token: u64) -> Result<(), String> {
        let holds = self.held.get(task).is_some_and(|(_, by)| *by == token);
        if holds {
            self.held.remove(task);
        }
        if event["data"]["outcome"] != "done" || event["data"]["stands"].is_string() {
            return Ok(());
        }
        if !holds {
            return Err(format!("token {token} was settled without its lease"));
        }
        self.accept(task, token)
    }

    fn accept(&mut self, task: &str, token: u64) -> Result<(), String> {
        let accepted = self.proved.accepted.entry(task.into()).or_default();
        if accepted.contains(&token) {
            return Err(format!("token {token} was accepted twice"));
        }
        accepted.push(token);
        Ok(())
    }

    fn moved(&mut self, kind: &str, task: &'a str, event: &'a Value) {
        let to = event["data"]["to"].as_str();
        if let Some(to) = to {
            self.told.insert(task, to);
        }
        if kind != "task.observed" {
            return;
        }
        if event["data"]["gone"] == true {
            self.gone.insert(task);
            self.told.remove(task);
        }
        let from = event["data"]["from"].as_str();
        let newest = self.newest.get(task).copied().unwrap_or_default();
        // A claim whose line was not written any more; its worker is dead, and counts until it is rescued.
        if let Some((role, ..)) = ROLES.iter().find(|(_, works, _)| to == Some(works)) {
            self.newest.insert(task, newest + 1);
            self.held.insert(task, (role, newest + 1));
        } else if let Some((_, _, done)) = ROLES.iter().find(|(_, works, _)| from == Some(works)) {
            // A settlement whose line was not written any more, or somebody's hand.
            let by = self.held.remove(task).map_or(newest, |(_, token)| token);
            if to.is_some_and(|to| done.contains(&to)) && by > 0 {
                self.proved.accepted.entry(task.into()).or_default().push(by);
            }
        }
    }

    fn end(self, queue: &Value) -> Result<Proved, String> {
        let mut there: BTreeMap<&str, &str> = BTreeMap::new();
        let mut lists = vec![&queue["tasks"]];
        while let Some(list) = lists.pop() {
            for task in list.as_array().into_iter().flatten() {
                let id = task["id"].as_str().unwrap_or_default();
                if there.insert(id, task["status"].as_str().unwrap_or_default()).is_some() {
                    return Err(format!("{id} is there twice"));
                }
                lists.push(&task["subtasks"]);
            }
        }
        for (task, told) in &self.told {
            match there.get(task) {
                None => return Err(format!("{task} is lost")),
                Some(status) if status != told => {
                    return Err(format!("{task} is `{status}`, and the journal says `{told}`"));
                }
                Some(_) => {}
            }
        }
        match self.held.iter().next() {
            Some((task, (role, token))) if !queue["tasks"].is_null() => {
                let works = ROLES.iter().any(|(name, works, _)| name == role && there.get(task) == Some(works));
                if works { Ok(self.proved) } else { Err(format!("{task} was never given back by token {token}")) }
            }
            _ => Ok(self.proved),
        }
    }
}

mod tests {
    use serde_json::{Value, json};

    use super::{Proved, check};

    #[expect(clippy::needless_pass_by_value, reason = "callers write `json!` in place")]
    fn event(kind: &str, task: &str, token: u64, data: Value) -> Value {
        let token = if token > 0 { json!(token) } else { Value::Null };
        json!({"type": format!("oodatcaa.{kind}.v1"), "task": task, "role": "builder", "token": token, "actor": "worker:w", "data": data})
    }

    fn moved(task: &str, token: u64, from: &str, to: &str) -> Value {
        event("task.moved", task, token, json!({"from": from, "to": to}))
    }

    fn claim(task: &str, token: u64) -> [Value; 3] {
        [
            event("lease.acquired", task, token, json!({})),
            moved(task, token, "ready", "in_progress"),
            event("attempt.started", task, token, json!({})),
        ]
    }

    fn settled(task: &str, token: u64) -> [Value; 2] {
        let done = event("attempt.finished", task, token, json!({"outcome": "done"}));
        [done, moved(task, token, "in_progress", "awaiting_test")]
    }

    /// A is taken over from a worker that was killed, B from one that slept and woke too late.
    fn good() -> Vec<Value> {
        let mut all =
            vec![json!({"type": "oodatcaa.queue.valid.v1", "data": {"statuses": {"A": "ready", "B": "ready"}}})];
        let rescued =
            |task, token| [event("lease.rescued", task, token, json!({})), moved(task, 0, "in_progress", "ready")];
        all.extend(claim("A", 1));
        all.extend(rescued("A", 1));
        all.extend(claim("A", 2));
        all.extend(settled("A", 2));
        all.extend(claim("B", 1));
        all.extend(rescued("B", 1));
        all.extend(claim("B", 2));
        all.push(event("attempt.superseded", "B", 1, json!({"outcome": "done"})));
        all.extend(settled("B", 2));
        all
    }

    fn checked(mut events: Vec<Value>, queue: &Value) -> Result<Proved, String> {
        for (seq, event) in (1..).zip(&mut events) {
            event["seq"] = json!(seq);
        }
        check(&events, queue)
    }

    fn queue() -> Value {
        json!({"wip_limits": {"builder": 1}, "tasks": [{"id": "A", "status": "awaiting_test"}, {"id": "B", "status": "awaiting_test"}]})
    }

    fn at(events: &[Value], kind: &str, task: &str, token: u64) -> usize {
        let kind = format!("oodatcaa.{kind}.v1");
        events
            .iter()
            .position(|event| event["type"] == kind.as_str() && event["task"] == task && event["token"] == token)
            .unwrap()
    }

    #[test]
    fn a_good_history_passes() {
        let proved = checked(good(), &queue()).expect("nothing is wrong");
        assert_eq!(proved.accepted, [("A".to_owned(), vec![2]), ("B".into(), vec![2])].into());
        assert_eq!((proved.claims, proved.rescued, proved.superseded, proved.most), (4, 2, 1, 1));
    }

    #[test]
    fn a_doctored_history_fails_for_each_promise() {
        type Doctor = fn(&mut Vec<Value>, &mut Value);
        let cases: [(&str, Doctor); 12] = [
            ("is not greater than", |all, _| {
                let at = at(all, "lease.acquired", "A", 2);
                all[at]["token"] = json!(1);
            }),
            ("still holds it", |all, _| drop(all.remove(at(all, "lease.rescued", "A", 1)))),
            ("leases of builder, 1 are allowed", |all, _| {
                let two = all.remove(at(all, "lease.acquired", "B", 1));
                all.insert(at(all, "lease.acquired", "A", 1) + 1, two);
            }),
            ("was started before its claim", |all, _| {
                let started = all.remove(at(all, "attempt.started", "A", 2));
                all.insert(at(all, "lease.acquired", "A", 2), started);
            }),
            ("was settled without its lease", |all, _| {
                let again = all[at(all, "attempt.finished", "A", 2)].clone();
                all.push(again);
            }),
            ("is not the newest", |all, _| {
                let at = at(all, "attempt.finished", "B", 2);
                all[at]["token"] = json!(1);
                all.retain(|event| event["type"] != "oodatcaa.attempt.superseded.v1");
            }),
            ("was superseded and goes on", |all, _| {
                let at = at(all, "attempt.superseded", "B", 1);
                all.insert(at + 1, event("gate.finished", "B", 1, json!({})));
            }),
            ("nothing newer than", |all, _| {
                let at = at(all, "attempt.superseded", "B", 1);
                all[at]["token"] = json!(2);
            }),
            ("A is lost", |_, queue| drop(queue["tasks"].as_array_mut().unwrap().remove(0))),
            ("A is there twice", |_, queue| {
                let again = queue["tasks"][0].clone();
                queue["tasks"].as_array_mut().unwrap().push(again);
            }),
            ("the journal says", |_, queue| queue["tasks"][1]["status"] = json!("ready")),
            ("was never given back", |all, _| drop(all.remove(at(all, "attempt.finished", "B", 2)))),
        ];
        for (how, doctor) in cases {
            let (mut events, mut queue) = (good(), queue());
            doctor(&mut events, &mut queue);
            let wrong = checked(events, &queue).expect_err(how);
            assert!(wrong.contains(how), "{how}: {wrong}");
        }
        let mut gap: Vec<Value> = good();
        gap.iter_mut().zip(2..).for_each(|(event, seq)| event["seq"] = json!(seq));
        assert!(check(&gap, &queue()).unwrap_err().contains("gap"));
    }

    #[test]
    fn what_a_killed_worker_did_not_write_is_taken_from_what_others_saw() {
        let mut events = good();
        // Killed after the queue and before the journal: the claim, and then the settlement, are only observed.
        let claim = at(&events, "lease.acquired", "A", 2);
        let seen = |from: &str, to: &str| json!({"type": "oodatcaa.task.observed.v1", "task": "A", "actor": "outside", "data": {"from": from, "to": to}});
        events.splice(claim..claim + 5, [seen("ready", "in_progress"), seen("in_progress", "awaiting_test")]);
        let proved = checked(events, &queue()).expect("nothing is wrong");
        assert_eq!(proved.accepted["A"], [2]);
    }
}
