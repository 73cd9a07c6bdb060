//! `agentctl msg`: messages between roles and people.

use std::time::Duration;

use super::{
    context::Context,
    fail::{Done, exit},
    ui::{Item, Tone},
};
use oodatcaa_agent::result::{Mail, Urgency};
use oodatcaa_core::{
    event::Actor,
    mail::{self, ALL, Draft, HUMAN},
    text::{many_lines, one_line, parse_duration},
};
use oodatcaa_ops::{ErrorKind, Failure, view::MessageView};

/// Verbs of `msg`.
#[derive(Debug, clap::Subcommand)]
pub(super) enum Verb {
    /// List messages that wait, of one mailbox or of all
    List(List),
    /// Send a message to a role, to `human`, or to `all`
    Send(Send),
    /// Read what was sent to you, once; or show one message
    Read(Read),
    /// Take a message back that nobody has got yet
    Recall(One),
    /// How far a message has come
    Status(One),
}

/// Flags of `list`.
#[derive(Debug, clap::Args)]
pub(super) struct List {
    /// The mailbox: a role, or `human`
    #[arg(value_name = "MAILBOX")]
    mailbox: Option<String>,
    /// Also those that have ended lately
    #[arg(long)]
    all: bool,
}

/// Flags of `send`.
#[derive(Debug, clap::Args)]
pub(super) struct Send {
    /// The receiver: a role, `human`, or `all`
    #[arg(long, value_name = "RECEIVER")]
    to: String,
    /// The words
    #[arg(required = true, value_name = "TEXT")]
    text: Vec<String>,
    /// What it is, in one word, e.g. question
    #[arg(long, value_name = "WORD")]
    kind: Option<String>,
    /// Its urgency, 1 (first) to 10
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u8).range(1..=10))]
    priority: Option<u8>,
    /// The thread that it belongs to, e.g. the message that it answers
    #[arg(long, value_name = "NAME")]
    thread: Option<String>,
    /// The task that it is about
    #[arg(long, value_name = "ID", add = super::shell::tasks())]
    task: Option<String>,
    /// The time after which nobody is to get it any more, e.g. 2h
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    ttl: Option<Duration>,
}

/// Flags of `read`.
#[derive(Debug, clap::Args)]
pub(super) struct Read {
    /// One message, e.g. builder-17; nothing changes by looking at it
    #[arg(value_name = "MESSAGE")]
    id: Option<String>,
}

/// Names one message.
#[derive(Debug, clap::Args)]
pub(super) struct One {
    /// The message, e.g. builder-17
    #[arg(value_name = "MESSAGE")]
    id: String,
}

/// Runs a verb of `msg`.
pub(super) fn run(ctx: &Context, verb: &Verb) -> Done {
    match verb {
        Verb::List(args) => list(ctx, args),
        Verb::Send(args) => send(ctx, args),
        Verb::Read(Read { id: None }) => read(ctx),
        Verb::Read(Read { id: Some(id) }) => {
            show(ctx, &ctx.project.message(id)?);
            Ok(exit::OK)
        }
        Verb::Recall(One { id }) => recall(ctx, id),
        Verb::Status(One { id }) => status(ctx, id),
    }
}

fn list(ctx: &Context, args: &List) -> Done {
    if let Some(name) = &args.mailbox
        && !mail::receivers(ctx.workflow()).contains(&name.as_str())
        && !ctx.project.mail()?.names()?.contains(name)
    {
        let there = mail::receivers(ctx.workflow()).join(", ");
        let message = format!("there is no mailbox `{}`", one_line(name));
        return Err(Failure::new(ErrorKind::NotFound, message).hint(format!("there are: {there}")));
    }
    let all = ctx.project.messages(args.mailbox.as_deref(), args.all)?;
    let now = chrono::Utc::now();
    let rows = all.iter().map(|message| {
        [
            Item::new(&message.id).tone(Tone::Strong),
            Item::new(message.state).tone(tone(message)),
            Item::new(message.priority),
            Item::new(one_line(&message.from)),
            Item::of(message.kind.as_deref().map(one_line)),
            Item::of(message.task.as_ref()),
            Item::new(ctx.ui.moment(message.sent_at.0, now)),
            Item::new(one_line(&message.text)),
        ]
    });
    let headings = "MESSAGE | STATE | PRIO | FROM~ | KIND? | TASK? | SENT | TEXT~";
    let none = match args.all {
        true => "no messages",
        false => "no message waits; those that have ended: agentctl msg list --all",
    };
    ctx.ui.list(&all, headings, rows, none, "agentctl msg read · agentctl msg send --to ROLE TEXT")
}

fn tone(message: &MessageView) -> Tone {
    match message.state {
        "queued" => Tone::Busy,
        "drained" => Tone::Good,
        "failed" | "expired" => Tone::Warn,
        _ => Tone::Plain,
    }
}

fn send(ctx: &Context, args: &Send) -> Done {
    let actor = ctx.project.actor();
    if let Actor::Outside = actor {
        return leave(ctx, args);
    }
    let task = match &args.task {
        Some(id) => Some(oodatcaa_ops::find_task(&ctx.read()?.snapshot.queue, id)?.id.clone()),
        None => None,
    };
    let draft = Draft {
        kind: args.kind.clone(),
        priority: args.priority,
        thread: args.thread.clone(),
        task,
        ttl: args.ttl.and_then(|ttl| chrono::Duration::from_std(ttl).ok()),
        from: actor.to_string(),
        text: args.text.join(" "),
        key: None,
    };
    let places = ctx.project.send(&args.to, &draft, &actor)?;
    let sent: Vec<MessageView> = places
        .iter()
        .map(|(name, number)| ctx.project.message(&format!("{name}-{number}")))
        .collect::<Result<_, _>>()?;
    if ctx.ui.json() {
        ctx.ui.value(&sent);
        return Ok(exit::OK);
    }
    let names: Vec<&str> = sent.iter().map(|message| message.id.as_str()).collect();
    let who = if names.len() == 1 { args.to.as_str() } else { "each" };
    let when = if args.to == HUMAN { "agentctl msg read" } else { "with its next task" };
    ctx.ui.say(&format!("sent as {}; {who} gets it {when}", names.join(", ")));
    if args.to != HUMAN && args.to != ALL {
        ctx.ui.say(&format!("how far it has come: agentctl msg status {}", names[0]));
    }
    Ok(exit::OK)
}

/// Leaves a message of an agent's for its worker, who sends it as its role, about its task.
fn leave(ctx: &Context, args: &Send) -> Done {
    if args.task.is_some() || args.ttl.is_some() {
        let message = "a message of an agent is about its own task, and has no end: leave out --task and --ttl";
        return Err(Failure::new(ErrorKind::Usage, message));
    }
    let mail = Mail {
        to: args.to.clone(),
        text: args.text.join(" "),
        priority: args.priority.map(Urgency::Number),
        kind: args.kind.clone(),
        thread: args.thread.clone(),
    };
    ctx.project.leave(&mail)?;
    ctx.ui.say(&format!("your worker sends it to {} within a second", one_line(&args.to)));
    Ok(exit::OK)
}

fn read(ctx: &Context) -> Done {
    if let Actor::Outside = ctx.project.actor() {
        return Err(Failure::new(ErrorKind::Refused, "what was sent to the human is for the human to read"));
    }
    let messages = ctx.project.read_mail()?;
    if ctx.ui.json() {
        ctx.ui.value(&messages);
        return Ok(exit::OK);
    }
    if messages.is_empty() {
        ctx.ui.say("nothing new for you; earlier ones: agentctl msg list human --all");
    }
    for message in &messages {
        show(ctx, message);
    }
    Ok(exit::OK)
}

fn show(ctx: &Context, message: &MessageView) {
    if ctx.ui.json() {
        return ctx.ui.value(message);
    }
    let about = message.task.as_ref().map(|task| format!(" about {task}")).unwrap_or_default();
    let kind = message.kind.as_deref().map(|kind| format!(" [{}]", one_line(kind))).unwrap_or_default();
    let again = if message.again { ", again" } else { "" };
    let sent = ctx.ui.moment(message.sent_at.0, chrono::Utc::now());
    let head = format!("{} from {}{kind}{about}, {sent}{again}", message.id, one_line(&message.from));
    ctx.ui.line(&Tone::Strong.paint(&head));
    for line in many_lines(&message.text).lines() {
        ctx.ui.line(&format!("  {line}"));
    }
}

fn recall(ctx: &Context, id: &str) -> Done {
    let actor = ctx.project.actor();
    ctx.project.recall(id, &actor.to_string(), &actor)?;
    if ctx.ui.json() {
        ctx.ui.value(&ctx.project.message(id)?);
        return Ok(exit::OK);
    }
    ctx.ui.say(&format!("{id} is taken back: nobody gets it"));
    Ok(exit::OK)
}

fn status(ctx: &Context, id: &str) -> Done {
    let message = ctx.project.message(id)?;
    if ctx.ui.json() {
        ctx.ui.value(&message);
        return Ok(exit::OK);
    }
    let by = message.taken_by.as_deref().map(|by| format!(", taken by {}", one_line(by))).unwrap_or_default();
    let why = message.why.as_deref().map(|why| format!(": {}", one_line(why))).unwrap_or_default();
    ctx.ui.line(&format!("{} {}{by}{why}", message.id, tone(&message).paint(message.state)));
    Ok(exit::OK)
}
