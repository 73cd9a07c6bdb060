//! The simulated agent as one that speaks the Agent Client Protocol: it does what its arguments say,
//! step by step, and says `simulated` in all its words. Uses no model.

use std::{
    io::{self, Write as _},
    path::PathBuf,
    process::ExitCode,
};

use clap::Parser;
use serde_json::{Value, json};

use super::play::ignore_term;

/// The argument that makes `agent-sim` speak the protocol.
pub(crate) const MODE: &str = "acp";

/// A simulated agent that speaks the Agent Client Protocol on its standard input and output.
#[derive(Debug, Parser)]
#[command(name = "agent-sim acp", no_binary_name = true)]
struct Flags {
    /// What to do on a prompt, in order: `say=TEXT`, `write=PATH=TEXT`, `read=PATH`, `run=COMMAND`, `noise`,
    /// `huge=BYTES`, `die=CODE`, `error=CODE=MESSAGE`, `stop=REASON`, `wait` until it is ended,
    /// `hang` until it is asked to cancel and deaf to TERM.
    #[arg(long = "play", value_name = "STEP")]
    steps: Vec<String>,
    /// The place where sessions are kept, to be loaded again.
    #[arg(long, value_name = "DIR")]
    sessions: Option<PathBuf>,
    /// Nobody is signed in.
    #[arg(long)]
    locked: bool,
    /// Sessions cannot be loaded.
    #[arg(long)]
    forgetful: bool,
    /// Run outside of an attempt of the fleet.
    #[arg(long)]
    standalone: bool,
}

/// Runs until its input ends.
pub(crate) fn main() -> ExitCode {
    let flags = match Flags::try_parse_from(std::env::args_os().skip(2)) {
        Ok(flags) => flags,
        Err(error) => {
            // Nobody is left to tell when standard error is gone too.
            let _ = error.print();
            return ExitCode::from(64);
        }
    };
    if !flags.standalone && std::env::var_os("OODATCAA_RUN_DIR").is_none() {
        let _ = writeln!(io::stderr(), "agent-sim: started by the fleet only; by hand: agent-sim acp --standalone");
        return ExitCode::from(64);
    }
    let mut play = Play { flags, input: io::stdin().lines(), next: 0, session: String::new() };
    if let Err(error) = play.run() {
        let _ = writeln!(io::stderr(), "agent-sim: {error}");
        return ExitCode::from(74);
    }
    ExitCode::SUCCESS
}

struct Play {
    flags: Flags,
    input: io::Lines<io::StdinLock<'static>>,
    next: u64,
    session: String,
}

/// A result, or an error by code and message.
type Reply = Result<Value, (i64, String)>;

/// Ends a prompt.
fn stop(reason: &str) -> Reply {
    Ok(json!({
        "stopReason": reason,
        "usage": {"inputTokens": 100, "outputTokens": 20, "totalTokens": 150, "cachedReadTokens": 30},
    }))
}

impl Play {
    fn run(&mut self) -> io::Result<()> {
        while let Some(message) = self.hear()? {
            let method = message.get("method").and_then(Value::as_str).unwrap_or_default();
            let Some(id) = message.get("id") else { continue };
            let answer = match method {
                "initialize" => Ok(json!({
                    "protocolVersion": 1,
                    "agentInfo": {"name": "agent-sim", "version": env!("CARGO_PKG_VERSION")},
                    "agentCapabilities": {"loadSession": !self.flags.forgetful},
                    "authMethods": [{"id": "sim-key", "name": "A key"}],
                })),
                "authenticate" => {
                    self.flags.locked = false;
                    Ok(json!({}))
                }
                _ if self.flags.locked => Err((-32000, "Authentication required".to_owned())),
                "session/new" => {
                    self.session = format!("sim-{}", std::process::id());
                    self.keep()?;
                    Ok(json!({"sessionId": self.session, "models": {
                        "currentModelId": "sim-1", "availableModels": [{"modelId": "sim-1", "name": "simulated"}],
                    }}))
                }
                "session/set_model" => match message.pointer("/params/modelId").and_then(Value::as_str) {
                    Some("sim-1" | "sim-2") => Ok(json!({})),
                    _ => Err((-32602, "no such model".to_owned())),
                },
                "session/load" => self.load(&message)?,
                "session/prompt" => self.prompt(&message)?,
                _ => Err((-32601, format!("Method not found: {method}"))),
            };
            let (key, answer) = match answer {
                Ok(result) => ("result", result),
                Err((code, words)) => ("error", json!({"code": code, "message": words})),
            };
            self.send(&json!({"jsonrpc": "2.0", "id": id, key: answer}))?;
        }
        Ok(())
    }

    fn keep(&self) -> io::Result<()> {
        let Some(dir) = &self.flags.sessions else { return Ok(()) };
        std::fs::create_dir_all(dir)?;
        std::fs::write(dir.join(&self.session), "simulated\n")
    }

    fn load(&mut self, message: &Value) -> io::Result<Reply> {
        let id = message.pointer("/params/sessionId").and_then(Value::as_str).unwrap_or_default().to_owned();
        let there = self.flags.sessions.as_ref().is_some_and(|dir| !id.is_empty() && dir.join(&id).is_file());
        if !there {
            return Ok(Err((-32603, format!("Invalid session identifier \"{id}\""))));
        }
        self.session = id;
        // What was said before is said again.
        self.say("simulated, and old")?;
        let call = json!({"sessionUpdate": "tool_call", "toolCallId": "old", "title": "old", "status": "completed"});
        self.update(&call)?;
        self.cost(0.5)?;
        Ok(Ok(json!({})))
    }

    fn prompt(&mut self, message: &Value) -> io::Result<Reply> {
        let words = message.pointer("/params/prompt/0/text").and_then(Value::as_str).unwrap_or_default();
        self.say(&format!("simulated: {} bytes of prompt. ", words.len()))?;
        for step in self.flags.steps.clone() {
            let (name, rest) = step.split_once('=').unwrap_or((&step, ""));
            let (first, second) = rest.split_once('=').unwrap_or((rest, ""));
            match name {
                "say" => self.say(rest)?,
                "write" => self.write(first, second)?,
                "read" => {
                    let answer = self.ask("fs/read_text_file", json!({"path": first}))?;
                    self.say(&format!("read: {}", answer.pointer("/result/content").unwrap_or(&answer)))?;
                }
                "run" => {
                    let call = json!({"title": first, "kind": "execute", "rawInput": {"command": first}});
                    self.tool("run", &call, |_| Ok(true))?;
                }
                "noise" => io::stdout().write_all(b"this is no message\n{\"half\":\n")?,
                "huge" => self.say(&"x".repeat(first.parse().unwrap_or(0)))?,
                "die" => std::process::exit(first.parse().unwrap_or(1)),
                "error" => return Ok(Err((first.parse().unwrap_or(-32603), second.to_owned()))),
                "stop" => return Ok(stop(first)),
                "wait" => while self.hear()?.is_some() {},
                "hang" => {
                    ignore_term()?;
                    self.say("deaf")?;
                    while let Some(message) = self.hear()? {
                        if message.get("method").is_some_and(|method| method == "session/cancel") {
                            return Ok(stop("cancelled"));
                        }
                    }
                }
                _ => return Ok(Err((-32602, format!("no such step: {name}")))),
            }
        }
        self.cost(0.75)?;
        Ok(stop("end_turn"))
    }

    fn write(&mut self, path: &str, text: &str) -> io::Result<()> {
        let call = json!({"title": format!("write {path}"), "kind": "edit", "locations": [{"path": path}], "rawInput": {"path": path}});
        self.tool("write", &call, |play| {
            let answer = play.ask("fs/write_text_file", json!({"path": path, "content": text}))?;
            Ok(answer.get("error").is_none())
        })
    }

    /// Makes a tool call from its announcement to its end; it is only done when it was allowed.
    fn tool(&mut self, name: &str, call: &Value, act: impl FnOnce(&mut Self) -> io::Result<bool>) -> io::Result<()> {
        let id = format!("call-{}", self.next);
        let mut asked = call.clone();
        asked["toolCallId"] = json!(id);
        let announced = json!({"sessionUpdate": "tool_call", "toolCallId": id, "title": name, "kind": call["kind"], "status": "pending"});
        self.update(&announced)?;
        let options = json!([
            {"optionId": "always", "kind": "allow_always", "name": "Always"},
            {"optionId": "once", "kind": "allow_once", "name": "Once"},
            {"optionId": "no", "kind": "reject_once", "name": "No"},
        ]);
        let answer = self.ask("session/request_permission", json!({"toolCall": asked, "options": options}))?;
        let chosen =
            answer.pointer("/result/outcome/optionId").and_then(Value::as_str).unwrap_or("cancelled").to_owned();
        self.say(&format!("permission: {chosen}. "))?;
        let good = chosen == "once" && act(self)?;
        let status = if good { "completed" } else { "failed" };
        self.update(&json!({"sessionUpdate": "tool_call_update", "toolCallId": id, "status": status}))
    }

    fn ask(&mut self, method: &str, mut params: Value) -> io::Result<Value> {
        let id = self.next;
        self.next += 1;
        params["sessionId"] = json!(self.session);
        self.send(&json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params}))?;
        while let Some(message) = self.hear()? {
            if message.get("id").and_then(Value::as_u64) == Some(id) && message.get("method").is_none() {
                return Ok(message);
            }
        }
        Err(io::ErrorKind::UnexpectedEof.into())
    }

    fn say(&mut self, text: &str) -> io::Result<()> {
        self.update(&json!({"sessionUpdate": "agent_message_chunk", "content": {"type": "text", "text": text}}))
    }

    fn cost(&mut self, amount: f64) -> io::Result<()> {
        self.update(&json!({"sessionUpdate": "usage_update", "used": 1, "size": 2, "cost": {"amount": amount, "currency": "USD"}}))
    }

    fn update(&mut self, update: &Value) -> io::Result<()> {
        let params = json!({"sessionId": self.session, "update": update});
        self.send(&json!({"jsonrpc": "2.0", "method": "session/update", "params": params}))
    }

    fn send(&self, message: &Value) -> io::Result<()> {
        let mut out = io::stdout().lock();
        writeln!(out, "{message}")?;
        out.flush()
    }

    fn hear(&mut self) -> io::Result<Option<Value>> {
        for line in self.input.by_ref() {
            if let Ok(message) = serde_json::from_str(&line?) {
                return Ok(Some(message));
            }
        }
        Ok(None)
    }
}
