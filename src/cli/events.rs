//! `agentctl events tail`: the journal, from where you say, once or as it grows.

use std::{collections::VecDeque, time::Duration};

use serde_json::Value;

use super::{
    context::Context,
    fail::{Done, exit},
    ui::{Item, Tone, Ui},
};
use oodatcaa_core::{
    Data, Event, Kind, Status, TaskId,
    text::{cut, near},
    time::stamp,
};
use oodatcaa_ops::{ErrorKind, Failure, find_id};

/// Verbs of `events`.
#[derive(Debug, clap::Subcommand)]
pub(super) enum Verb {
    /// The last events, or those after a number; with -f also what follows
    Tail(Tail),
}

/// Flags of `tail`.
#[derive(Debug, clap::Args)]
pub(super) struct Tail {
    /// Go on with what happens from now on
    #[arg(short, long)]
    follow: bool,
    /// All events after this number
    #[arg(long, value_name = "SEQ")]
    after: Option<u64>,
    /// Only these: `task.moved`, `attempt` for all of a kind, …
    #[arg(long = "type", value_name = "TYPE", value_delimiter = ',')]
    kinds: Vec<String>,
    /// Only those about this task
    #[arg(long, value_name = "ID")]
    task: Option<String>,
    /// How many of the last [default: 20, or all with --after]
    #[arg(short = 'n', long, value_name = "N")]
    lines: Option<usize>,
}

/// Where waiting for changes ends and a look follows all the same.
const LOOK: Duration = Duration::from_secs(5);

/// Runs a verb of `events`.
pub(super) fn run(ctx: &Context, verb: &Verb) -> Done {
    let Verb::Tail(args) = verb;
    let task = check(ctx, args)?;
    let passes = |event: &Event| passes(args, task.as_ref(), event);
    let store = ctx.project.store()?;
    // Listening starts before reading, so that nothing falls between the two.
    let changes = args.follow.then(|| store.changes()).transpose()?;
    let wanted = args.lines.unwrap_or(if args.after.is_some() { usize::MAX } else { 20 });
    let mut last = args.after.unwrap_or_default();
    // No more are kept than are shown: the journal may be longer than memory.
    let mut events: VecDeque<Event> = VecDeque::new();
    store.replay(last, &mut |event| {
        last = event.seq;
        events.extend(Some(event).filter(passes));
        if events.len() > wanted {
            events.pop_front();
        }
    })?;
    let events = Vec::from(events);

    let Some(changes) = changes else {
        let headings = "SEQ | TIME | TYPE | SUBJECT | ACTOR? | WHAT~";
        let rows = events.iter().map(|event| row(&ctx.ui, event));
        return ctx.ui.list(&events, headings, rows, "no such events", "");
    };
    events.iter().for_each(|event| follow(&ctx.ui, event));
    while !ctx.ui.closed() {
        let _ = changes.recv_timeout(LOOK);
        for event in store.events(last)? {
            last = event.seq;
            if passes(&event) {
                follow(&ctx.ui, &event);
            }
        }
    }
    Ok(exit::OK)
}

/// Refuses types that do not exist, and finds the task.
fn check(ctx: &Context, args: &Tail) -> Result<Option<TaskId>, Failure> {
    for wanted in &args.kinds {
        if !Kind::ALL.iter().any(|kind| names(*kind, wanted)) {
            let near = near(wanted, Kind::ALL.iter().map(|kind| kind.as_str()));
            let near = if near.is_empty() { Kind::ALL.iter().map(|kind| kind.as_str()).collect() } else { near };
            return Err(Failure::new(ErrorKind::Usage, format!("there is no event type `{wanted}`")).hint(format!(
                "there are, for example, {}: agentctl events tail --type {}",
                near.join(", "),
                near[0]
            )));
        }
    }
    let Some(id) = &args.task else { return Ok(None) };
    let snapshot = ctx.read()?.snapshot;
    // The journal remembers tasks that have left the queue.
    find_id(&snapshot.queue, id, |id| snapshot.history.tasks.contains_key(id)).map(Some)
}

fn names(kind: Kind, wanted: &str) -> bool {
    let wanted = wanted.strip_prefix("oodatcaa.").and_then(|rest| rest.strip_suffix(".v1")).unwrap_or(wanted);
    kind.as_str() == wanted || kind.as_str().split_once('.').is_some_and(|(noun, _)| noun == wanted)
}

fn passes(args: &Tail, task: Option<&TaskId>, event: &Event) -> bool {
    (args.kinds.is_empty() || args.kinds.iter().any(|wanted| names(event.kind(), wanted)))
        && task.is_none_or(|task| event.task.as_ref() == Some(task))
}

fn follow(ui: &Ui, event: &Event) {
    if ui.json() {
        ui.record(event);
        return;
    }
    let items = row(ui, event);
    if ui.pretty() {
        let words: Vec<String> = items.iter().map(Item::painted).collect();
        ui.line(&words.join("  "));
    } else {
        let words: Vec<&str> = items.iter().map(Item::piped).collect();
        ui.line(&words.join("\t"));
    }
    ui.flush();
}

fn row(ui: &Ui, event: &Event) -> [Item; 6] {
    let time = match ui.pretty() {
        true => event.time.format("%m-%d %H:%M:%S").to_string(),
        false => stamp(event.time),
    };
    let tone = match event.data() {
        Data::AttemptFinished(ended) if ended.class.is_some() => Tone::Bad,
        Data::WorkerPaused(_) | Data::QueueInvalid(_) | Data::LeaseRescued(_) => Tone::Warn,
        Data::TaskMoved(change) if change.to == Some(Status::DONE) => Tone::Good,
        _ => Tone::Plain,
    };
    [
        Item::new(event.seq).tone(Tone::Faint),
        Item::new(time).tone(Tone::Faint),
        Item::new(event.kind().as_str()).tone(tone),
        Item::new(&event.subject),
        Item::new(&event.actor).tone(Tone::Faint),
        Item::new(words(event)).or_piped(Value::Object(event.data().members()).to_string()),
    ]
}

/// Says what an event tells, in one line.
fn words(event: &Event) -> String {
    let mut all: Vec<String> = Vec::new();
    if event.simulated {
        all.push("SIM".into());
    }
    let members = event.data().members();
    let text = |key: &str| members.get(key).and_then(Value::as_str);
    match (text("from"), text("to")) {
        (Some(from), Some(to)) => all.push(format!("{from} → {to}")),
        (None, Some(to)) => all.push(format!("→ {to}")),
        _ => {}
    }
    if let Some(attempt) = event.attempt {
        all.push(format!("try {attempt}"));
    }
    for key in ["outcome", "class", "title", "gate", "ok", "owner", "pid", "message", "reason"] {
        match members.get(key) {
            Some(Value::String(text)) => all.push(cut(text, 300)),
            Some(Value::Bool(yes)) => all.push(format!("{key}: {}", if *yes { "yes" } else { "no" })),
            Some(Value::Number(number)) => all.push(format!("{key} {number}")),
            _ => {}
        }
    }
    all.join(" · ")
}
