//! A client for agents that speak the Agent Client Protocol: our own program in a hidden mode, between
//! a shim and such an agent.
//!
//! The protocol is a conversation, and a shim only gives a program its prompt and keeps its output.
//! So this process reads the prompt from its standard input, holds the conversation, answers what the
//! agent may do, and writes what happens to its standard output, one event a line, for the dialect
//! `acp` to read. What an event means, the description `acp` says; limits and the end of the tree are
//! the shim's and the watcher's.

mod answer;
mod events;
mod files;
mod peer;
mod permit;
mod talk;

use std::{
    ffi::OsString,
    io::{self, Read as _},
    path::PathBuf,
    process::ExitCode,
};

use clap::Parser;

use self::{events::Events, files::Files, peer::Peer, permit::Permit, talk::Talk};

/// The argument that makes a program of ours this client.
pub const MODE: &str = "acp";

/// The longest message in either direction; a longer one is dropped.
const LONGEST: usize = 16 << 20;

/// Our services for files that the agent is told of. Some agents cannot make a new file when they
/// are to ask us whether it is there, so reading is offered on demand only.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Fs {
    None,
    Write,
    All,
}

/// The flags of the client; only a description gives these.
#[derive(Debug, Parser)]
#[command(name = "acp", no_binary_name = true)]
struct Flags {
    /// The agent's working directory.
    #[arg(long)]
    workspace: PathBuf,
    /// A file outside of it that may be written.
    #[arg(long)]
    also: Vec<PathBuf>,
    /// The permissions that are granted when the agent asks.
    #[arg(long, value_enum, default_value = "edits")]
    permissions: Permit,
    /// The model to choose.
    #[arg(long)]
    model: Option<String>,
    /// The session to go on with.
    #[arg(long)]
    resume: Option<String>,
    /// The way to sign in, by the agent's own name for it; without one the agent must be signed in.
    #[arg(long)]
    auth: Option<String>,
    /// The services for files that are offered.
    #[arg(long, value_enum, default_value = "write")]
    fs: Fs,
    /// The agent and its arguments.
    #[arg(last = true, required = true)]
    agent: Vec<OsString>,
}

/// Returns our program that has this mode: it stands beside the one that runs.
pub fn program() -> String {
    const PROGRAM: &str = "agent-daemon";
    let here = std::env::current_exe().ok();
    // Test programs stand a directory deeper.
    let places = here.iter().flat_map(|exe| exe.ancestors().skip(1).take(2).map(|dir| dir.join(PROGRAM)));
    let found = places.into_iter().find(|file| file.is_file());
    found.map_or_else(|| PROGRAM.into(), |file| file.to_string_lossy().into_owned())
}

/// Runs as a client until the agent has answered. Nothing but `agent-daemon` calls this.
pub fn main() -> ExitCode {
    let mut events = Events::new(Box::new(io::stdout()));
    let flags = match Flags::try_parse_from(std::env::args_os().skip(2)) {
        Ok(flags) => flags,
        Err(error) => {
            events.error("flags", None, &error.to_string(), None);
            return ExitCode::FAILURE;
        }
    };
    let mut prompt = Vec::new();
    if let Err(error) = io::stdin().lock().take(LONGEST as u64).read_to_end(&mut prompt) {
        events.error("prompt", None, &format!("the prompt cannot be read: {error}"), None);
        return ExitCode::FAILURE;
    }
    let prompt = String::from_utf8_lossy(&prompt).into_owned();
    let peer = match Peer::start(&flags.agent, &flags.workspace) {
        Ok(peer) => peer,
        Err(error) => {
            let kind = match error.kind() {
                io::ErrorKind::NotFound => "not_found",
                io::ErrorKind::PermissionDenied => "denied",
                _ => "other",
            };
            let program = flags.agent.first().map_or_else(String::new, |name| name.to_string_lossy().into_owned());
            events.error("start", None, &format!("the program `{program}` could not be started: {error}"), Some(kind));
            return ExitCode::FAILURE;
        }
    };
    let files = Files::new(&flags.workspace, &flags.also, flags.permissions != Permit::Plan);
    let mut talk = Talk::new(peer, events, files, flags);
    let good = talk.hold(&prompt);
    talk.close();
    if good { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
