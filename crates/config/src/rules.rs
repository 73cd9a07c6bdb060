//! The rules of the configuration that act by themselves: schedules and hand-offs.

use std::time::Duration;

use super::{fault::Findings, flat::Values, form::Form, kind::Kind};
use oodatcaa_core::{
    Status, Workflow,
    deed::{Deed, Note},
    handoff::{Handoff, On, PLACEHOLDERS, Topic},
    mail,
    manual::Wanted,
    placeholder,
    schedule::{CatchUp, Schedule, Times, When},
};

const MINUTE: Duration = Duration::from_secs(60);

/// The longest name of a rule: it becomes a part of its tasks' ids.
const LONGEST: usize = 40;

/// The table of one rule.
struct Table<'a> {
    values: &'a Values<'a>,
    path: [&'a str; 2],
    workflow: &'a Workflow,
}

impl<'a> Table<'a> {
    fn at(&self, key: &'a str) -> Vec<&'a str> {
        self.path.into_iter().chain(key.split('.')).collect()
    }

    fn text(&self, key: &'a str) -> Option<String> {
        self.values.text(&self.at(key))
    }

    fn list(&self, key: &'a str, form: Form) -> Vec<String> {
        self.values.take(&self.path, key, Kind::List(form), None)
    }

    /// Returns a count that somebody wrote, or that stands there where nobody did.
    fn count(&self, key: &'a str) -> Option<u32> {
        self.values.get(&self.at(key)).map(|_| self.values.take(&self.path, key, Kind::Count(0), None))
    }

    fn fault(&self, found: &mut Findings, key: &'a str, message: String) {
        found.faults.push(self.values.fault(&self.at(key), message));
    }

    /// Returns a status that a rule may set; notes what is wrong with it.
    fn status(&self, key: &'a str, found: &mut Findings) -> Option<Status> {
        let status = self.text(key).map(Status::new)?;
        if !self.workflow.knows(&status) {
            self.fault(found, key, format!("is `{status}`, which no role takes or sets"));
        } else if self.workflow.working(&status).is_some() {
            self.fault(found, key, format!("is `{status}`, which only a claim may set"));
        }
        Some(status)
    }

    /// Returns what is done; notes what is wrong with it. `fills` tells whether texts may name placeholders.
    fn deed(&self, fills: bool, found: &mut Findings) -> Deed {
        for key in ["then.task.title", "then.task.description", "then.message.text"].iter().filter(|_| fills) {
            let text = self.text(key).unwrap_or_default();
            if let Some(name) = placeholder::named(&text).find(|name| !PLACEHOLDERS.contains(&name.as_str())) {
                let all: Vec<String> = PLACEHOLDERS.iter().map(|name| format!("`{{{name}}}`")).collect();
                let words = format!(
                    "names `{{{name}}}`; there are: {}. For a literal `{{{name}}}` write `{{{{{name}}}}}`",
                    all.join(", ")
                );
                self.fault(found, key, words);
            }
        }
        let deed = Deed { message: self.message(found), task: self.task(found), to: None };
        if self.path[0] == "schedules" && deed.task.is_none() && deed.message.is_none() {
            let words = "is missing; expected the title of the task that it makes, or `then.message`";
            self.fault(found, "then.task.title", words.into());
        }
        deed
    }

    fn task(&self, found: &mut Findings) -> Option<Wanted> {
        let status = self.status("then.task.status", found);
        let Some(title) = self.text("then.task.title") else {
            let others = ["status", "type", "description"].map(|key| format!("then.task.{key}"));
            let lacks = others.iter().any(|key| {
                let path: Vec<&str> = self.path.into_iter().chain(key.split('.')).collect();
                self.values.text(&path).is_some_and(|text| !text.is_empty())
            });
            if lacks {
                let words = "is missing; expected the title of the task that it makes".to_owned();
                self.fault(found, "then.task.title", words);
            }
            return None;
        };
        // Its name becomes a part of its tasks' ids.
        let name = self.path[1];
        if name.len() > LONGEST {
            let words = format!("is of a rule whose name has {} characters; at most {LONGEST} are allowed", name.len());
            self.fault(found, "then.task.title", words);
        }
        Some(Wanted {
            title,
            status,
            kind: self.text("then.task.type"),
            priority: self.count("then.task.priority").map(i64::from),
            description: self.text("then.task.description"),
            acceptance_criteria: self.list("then.task.accept", Form::Any),
            gates: self.list("then.task.gates", Form::Name),
            ..Wanted::default()
        })
    }

    fn message(&self, found: &mut Findings) -> Option<Note> {
        let (to, text) = match (self.text("then.message.to"), self.text("then.message.text")) {
            (Some(to), Some(text)) => (to, text),
            (None, None) => return None,
            (Some(_), None) => {
                self.fault(found, "then.message.text", "is missing; expected the words of the message".into());
                return None;
            }
            (None, Some(_)) => {
                self.fault(found, "then.message.to", "is missing; expected a role, `human` or `all`".into());
                return None;
            }
        };
        let priority = self.count("then.message.priority");
        if priority.is_some_and(|priority| !(1..=10).contains(&priority)) {
            self.fault(found, "then.message.priority", "is not from 1 (first) to 10".into());
        }
        if text.chars().count() > mail::LONGEST {
            self.fault(found, "then.message.text", format!("is longer than {} characters", mail::LONGEST));
        }
        let kind = self.text("then.message.kind");
        let note = Note { to, text, kind, priority: priority.and_then(|priority| u8::try_from(priority).ok()) };
        if let Some(wrong) = note.wrong_receiver(self.workflow) {
            self.fault(found, "then.message.to", wrong);
        }
        Some(note)
    }
}

/// Returns what comes at a time.
pub(super) fn schedules(values: &Values<'_>, workflow: &Workflow, found: &mut Findings) -> Vec<Schedule> {
    let mut all = Vec::new();
    for (name, _) in values.table(&["schedules"]) {
        let table = Table { values, path: ["schedules", name], workflow };
        let time = |key| -> Duration { values.take(&table.path, key, Kind::Duration(0), None) };
        let (cron, every, jitter) = (table.text("cron"), time("every"), time("jitter"));
        let times = |cron: &str| {
            let times = Times::parse(cron, &table.text("tz").unwrap_or_default())?;
            if jitter.is_zero() { Ok(times) } else { times.put_off(jitter, name) }
        };
        let when = match (&cron, every) {
            // What is wrong with the text itself has been noted with it.
            (Some(cron), Duration::ZERO) => {
                times(cron).map_err(|bad| ("jitter", bad.to_string())).map(|times| When::Cron(Box::new(times)))
            }
            (Some(_), _) => Err(("every", "stands beside `cron`; keep one of them".into())),
            (None, every) if every < MINUTE && !every.is_zero() => Err(("every", "is less than 1m".into())),
            (None, _) if !jitter.is_zero() => {
                Err(("jitter", "is for `cron`: an interval counts from its last run".into()))
            }
            (None, Duration::ZERO) => Err(("cron", "is missing, and so is `every`: it would never come".into())),
            (None, every) => Ok(When::Every(every)),
        };
        let then = table.deed(false, found);
        match when {
            Ok(when) => all.push(Schedule {
                name: name.clone(),
                when,
                catch_up: if table.text("catch_up").as_deref() == Some("none") { CatchUp::None } else { CatchUp::Once },
                overlaps: table.text("overlap").as_deref() == Some("allow"),
                then,
            }),
            Err((key, message)) => table.fault(found, key, message),
        }
    }
    all
}

/// Returns what follows on what happens.
pub(super) fn handoffs(values: &Values<'_>, workflow: &Workflow, found: &mut Findings) -> Vec<Handoff> {
    let mut all = Vec::new();
    for (name, _) in values.table(&["handoffs"]) {
        let table = Table { values, path: ["handoffs", name], workflow };
        let topic = table.text("on").and_then(|word| Topic::of_word(&word)).unwrap_or(Topic::Moved);
        let is_message = topic == Topic::Sent;
        let then = Deed { to: table.status("then.move", found), ..table.deed(true, found) };
        if then == Deed::default() {
            let words = "is missing, and so are `then.task` and `then.message`: it would do nothing";
            table.fault(found, "then.move", words.into());
        }
        if is_message && then.to.is_some() {
            table.fault(found, "then.move", "is for tasks, and `on` is `message.sent`".into());
        }
        let of_others: &[&str] = if is_message { &["from", "type"] } else { &["kind"] };
        for key in of_others.iter().filter(|key| table.text(key).is_some()) {
            table.fault(found, key, format!("is not known of `{topic}`"));
        }
        if topic == Topic::Created && table.text("from").is_some() {
            table.fault(found, "from", format!("is not known of `{topic}`: nothing was before"));
        }
        for key in ["to", "from"] {
            let Some(word) = table.text(key) else { continue };
            if is_message {
                if let Some(wrong) = (Note { to: word, ..Note::default() }).wrong_receiver(workflow) {
                    table.fault(found, key, wrong);
                }
            } else if !workflow.knows(&Status::new(word.as_str())) {
                table.fault(found, key, format!("is `{word}`, which no role takes or sets"));
            }
        }
        let role = table.text("from_role");
        if let Some(role) = role.as_ref().filter(|role| workflow.rules().iter().all(|rule| rule.role.as_str() != *role))
        {
            let known: Vec<&str> = workflow.rules().iter().map(|rule| rule.role.as_str()).collect();
            table.fault(found, "from_role", format!("is `{role}`; there are: {}", known.join(", ")));
        }
        let kind = table.text(if is_message { "kind" } else { "type" });
        let on = On { topic, to: table.text("to"), from: table.text("from"), role, kind };
        all.push(Handoff { name: name.clone(), on, then });
    }
    all
}
