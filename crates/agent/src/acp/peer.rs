//! The agent at the other end: its process, and messages in lines.

use std::{
    ffi::OsString,
    io::{self, Read as _, Write as _},
    path::Path,
    process::{Child, ChildStdin, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use crossbeam_channel::{Receiver, Sender, unbounded};
use oodatcaa_sys::command;
use serde_json::{Value, json};
use signal_hook::{
    consts::{SIGINT, SIGTERM},
    iterator::Signals,
};

use super::LONGEST;
use crate::stream::lines::Lines;

/// An event from the agent or from our own signals.
pub(super) enum Heard {
    /// A message.
    Message(Value),
    /// A line that is none.
    Noise(String),
    /// The agent has closed its output.
    Gone,
    /// We were asked to end.
    Told,
}

/// The time that an agent has to leave once the conversation is over.
const FAREWELL: Duration = Duration::from_secs(3);

/// The longest time between hearing two ends of one signal.
const MOMENT: Duration = Duration::from_millis(200);

/// The agent.
pub(super) struct Peer {
    child: Child,
    stdin: Option<ChildStdin>,
    inbox: Receiver<Heard>,
    next: u64,
}

impl Peer {
    /// Starts the agent in the workspace, with this process's environment.
    pub(super) fn start(argv: &[OsString], workspace: &Path) -> io::Result<Self> {
        let (program, arguments) = argv.split_first().ok_or(io::ErrorKind::InvalidInput)?;
        let (sender, inbox) = unbounded();
        let mut signals = Signals::new([SIGTERM, SIGINT])?;
        let told = sender.clone();
        thread::Builder::new().name("signals".into()).spawn(move || {
            for _ in signals.forever() {
                let _ = told.send(Heard::Told);
            }
        })?;
        let mut command = Command::new(program);
        command.args(arguments).current_dir(workspace);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let stdin = child.stdin.take();
        let mut stdout = child.stdout.take().ok_or(io::ErrorKind::BrokenPipe)?;
        thread::Builder::new().name("agent".into()).spawn(move || {
            let mut lines = Lines::new(LONGEST);
            let mut buffer = vec![0; 64 * 1024];
            let mut dropped = 0;
            loop {
                match stdout.read(&mut buffer) {
                    Ok(0) => break,
                    Ok(length) => lines.feed(&buffer[..length], &mut |line| hear(line, &sender)),
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    Err(_) => break,
                }
                if lines.dropped() > dropped {
                    dropped = lines.dropped();
                    let _ = sender.send(Heard::Noise(format!("a line of more than {LONGEST} bytes was dropped")));
                }
            }
            lines.end(&mut |line| hear(line, &sender));
            let _ = sender.send(Heard::Gone);
        })?;
        Ok(Self { child, stdin, inbox, next: 0 })
    }

    /// Returns what comes next; `None` when the time is over.
    pub(super) fn hear(&self, until: Option<Instant>) -> Option<Heard> {
        match until {
            Some(until) => self.inbox.recv_deadline(until).ok(),
            None => Some(self.inbox.recv().unwrap_or(Heard::Gone)),
        }
    }

    /// Tells whether we were asked to end, as far as that can be heard in a moment.
    pub(super) fn is_told(&self) -> bool {
        let until = Instant::now() + MOMENT;
        while let Some(heard) = self.hear(Some(until)) {
            if matches!(heard, Heard::Told) {
                return true;
            }
        }
        false
    }

    /// Asks; answers the number by which the answer will be known.
    pub(super) fn ask(&mut self, method: &str, params: &Value) -> u64 {
        let id = self.next;
        self.next += 1;
        self.send(&json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params}));
        id
    }

    /// Tells without an answer.
    pub(super) fn tell(&mut self, method: &str, params: &Value) {
        self.send(&json!({"jsonrpc": "2.0", "method": method, "params": params}));
    }

    /// Answers a question of the agent's.
    pub(super) fn answer(&mut self, id: &Value, answer: Result<Value, (i64, String)>) {
        self.send(&match answer {
            Ok(result) => json!({"jsonrpc": "2.0", "id": id, "result": result}),
            Err((code, message)) => json!({"jsonrpc": "2.0", "id": id, "error": {"code": code, "message": message}}),
        });
    }

    fn send(&mut self, message: &Value) {
        let mut line = message.to_string();
        line.push('\n');
        if let Some(stdin) = &mut self.stdin {
            // Who does not listen any more is about to be heard of as gone.
            let _ = stdin.write_all(line.as_bytes()).and_then(|()| stdin.flush());
        }
    }

    /// Ends the conversation: the end of its input tells the agent. Answers how it ended, if it did by itself.
    pub(super) fn farewell(&mut self) -> Option<std::process::ExitStatus> {
        self.stdin = None;
        // What else it still says is not waited for, only taken.
        let told = || matches!(self.inbox.try_recv(), Ok(Heard::Told));
        let ended = command::wait(&mut self.child, Instant::now() + FAREWELL, told);
        if let Ok(None) = ended {
            // What it leaves behind the shim ends.
            command::kill(&mut self.child);
        }
        ended.ok().flatten()
    }
}

fn hear(line: &str, sender: &Sender<Heard>) {
    let heard = match serde_json::from_str::<Value>(line) {
        Ok(message @ Value::Object(_)) => Heard::Message(message),
        _ => Heard::Noise(line.to_owned()),
    };
    let _ = sender.send(heard);
}
