//! The conversation: from `initialize` to the answer to the prompt, and what is told of it on the way.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use super::{
    Flags, Fs,
    answer::{Trouble, ours, told, usage},
    events::Events,
    files::Files,
    peer::{Heard, Peer},
    permit::Permit,
};

/// The version of the protocol that we speak.
const VERSION: u64 = 1;

/// The code of a method that is not there.
const NO_METHOD: i64 = -32601;

/// The time that the agent has to answer a cancelled prompt.
const CANCEL: Duration = Duration::from_secs(2);

/// A tool call that was announced.
#[derive(Default)]
struct Tool {
    /// Its known members: those of its announcement under those of later updates.
    known: BTreeMap<String, Value>,
    begun: bool,
    /// It was refused, and has ended by that, whatever else is said of it.
    refused: bool,
}

/// One conversation.
pub(super) struct Talk {
    peer: Peer,
    events: Events,
    files: Files,
    flags: Flags,
    session: Option<String>,
    /// The agent repeats an old conversation: nothing of that is news.
    repeats: bool,
    tools: BTreeMap<String, Tool>,
    cost_before: Option<f64>,
    cancelled: Option<Instant>,
}

impl Talk {
    /// Begins to talk with an agent that was just started.
    pub(super) fn new(peer: Peer, events: Events, files: Files, flags: Flags) -> Self {
        Self {
            peer,
            events,
            files,
            flags,
            session: None,
            repeats: false,
            tools: BTreeMap::new(),
            cost_before: None,
            cancelled: None,
        }
    }

    /// Holds it. `true` when the agent has come to an end of its own.
    pub(super) fn hold(&mut self, prompt: &str) -> bool {
        let mut stage = "initialize";
        match self.walk(prompt, &mut stage) {
            Ok(stop) => return stop == "end_turn",
            Err(Trouble::Error { code, message }) => self.events.error(stage, Some(code), &message, None),
            // Whoever ends us ends the agent as well, and that may be heard first.
            Err(trouble) if matches!(trouble, Trouble::Told) || self.cancelled.is_some() || self.peer.is_told() => {
                self.events.error(stage, None, "asked to end", Some("cancelled"));
            }
            Err(_) => {
                let how = match self.peer.farewell() {
                    Some(status) => format!("the agent is gone ({status})"),
                    None => "the agent has closed its output".into(),
                };
                self.events.error(stage, None, &how, Some("gone"));
            }
        }
        false
    }

    /// Lets the agent go.
    pub(super) fn close(&mut self) {
        self.peer.farewell();
    }

    fn walk(&mut self, prompt: &str, stage: &mut &'static str) -> Result<String, Trouble> {
        let able = self.initialize()?;
        if let Some(method) = self.flags.auth.clone() {
            *stage = "authenticate";
            self.ask("authenticate", &json!({"methodId": method}))?;
        }
        *stage = if self.flags.resume.is_some() { "load" } else { "session" };
        let opened = self.open(&able)?;
        *stage = "model";
        let model = self.choose_model(&opened)?;
        *stage = "mode";
        self.choose_mode(&opened)?;
        let session = self.session.clone().unwrap_or_default();
        self.events
            .tell(&json!({"type": "session", "id": session, "model": model, "resumed": self.flags.resume.is_some()}));
        *stage = "prompt";
        let answer =
            self.ask("session/prompt", &json!({"sessionId": session, "prompt": [{"type": "text", "text": prompt}]}))?;
        if let Some(usage) = usage(&answer) {
            self.events.tell(&usage);
        }
        let stop = answer.get("stopReason").and_then(Value::as_str).unwrap_or("unknown").to_owned();
        self.events.tell(&json!({"type": "end", "stop": stop}));
        Ok(stop)
    }

    fn initialize(&mut self) -> Result<Value, Trouble> {
        let answer = self.ask(
            "initialize",
            &json!({
                "protocolVersion": VERSION,
                "clientCapabilities": {
                    "fs": {"readTextFile": self.flags.fs == Fs::All, "writeTextFile": self.flags.fs != Fs::None},
                    "terminal": false,
                },
                "clientInfo": {"name": "oodatcaa", "version": env!("CARGO_PKG_VERSION")},
            }),
        )?;
        match answer.get("protocolVersion").and_then(Value::as_u64) {
            Some(VERSION) => {}
            other => {
                let other = other.map_or_else(|| "none".into(), |version| version.to_string());
                return Err(ours(format!("it speaks version {other} of the protocol, and we version {VERSION}")));
            }
        }
        let word = |name: &str| answer.pointer(&format!("/agentInfo/{name}")).and_then(Value::as_str);
        let name = [word("name"), word("version")].into_iter().flatten().collect::<Vec<_>>().join(" ");
        self.events.tell(&json!({"type": "hello", "agent": name}));
        Ok(answer)
    }

    /// Opens a session, a new one or an old one again.
    fn open(&mut self, able: &Value) -> Result<Value, Trouble> {
        let cwd = self.flags.workspace.to_string_lossy().into_owned();
        let Some(session) = self.flags.resume.clone() else {
            let opened = self.ask("session/new", &json!({"cwd": cwd, "mcpServers": []})).map_err(|trouble| {
                let methods = able.get("authMethods").and_then(Value::as_array).into_iter().flatten();
                let names: Vec<&str> = methods.filter_map(|method| method.get("id")?.as_str()).collect();
                match trouble {
                    Trouble::Error { code, message } if !names.is_empty() => {
                        Trouble::Error { code, message: format!("{message} (ways to sign in: {})", names.join(", ")) }
                    }
                    other => other,
                }
            })?;
            match opened.get("sessionId").and_then(Value::as_str) {
                Some(id) => self.session = Some(id.to_owned()),
                None => return Err(ours("it opened a session without a name".into())),
            }
            return Ok(opened);
        };
        let can =
            |pointer: &str| able.pointer(pointer).is_some_and(|able| !matches!(able, Value::Bool(false) | Value::Null));
        let method = if can("/agentCapabilities/loadSession") {
            "session/load"
        } else if can("/agentCapabilities/sessionCapabilities/resume") {
            "session/resume"
        } else {
            return Err(ours("it cannot open a session again".into()));
        };
        self.session = Some(session.clone());
        self.repeats = true;
        let opened = self.ask(method, &json!({"sessionId": session, "cwd": cwd, "mcpServers": []}));
        self.repeats = false;
        self.tools.clear();
        opened
    }

    /// Chooses the model that was asked for; answers the one that is in force.
    fn choose_model(&mut self, opened: &Value) -> Result<Option<String>, Trouble> {
        let options = opened.get("configOptions").and_then(Value::as_array).into_iter().flatten();
        let option = options.into_iter().find(|option| option.get("category").is_some_and(|own| own == "model"));
        let in_force = opened.pointer("/models/currentModelId").or_else(|| option?.get("currentValue"));
        let in_force = in_force.and_then(Value::as_str).map(str::to_owned);
        let Some(model) = self.flags.model.clone().filter(|model| in_force.as_ref() != Some(model)) else {
            return Ok(in_force);
        };
        let session = self.session.clone();
        match option.and_then(|option| option.get("id")) {
            Some(id) => {
                self.ask("session/set_config_option", &json!({"sessionId": session, "configId": id, "value": model}))?
            }
            None => self.ask("session/set_model", &json!({"sessionId": session, "modelId": model}))?,
        };
        Ok(Some(model))
    }

    /// Puts an agent that knows a mode for planning into it, where only planning is allowed.
    fn choose_mode(&mut self, opened: &Value) -> Result<(), Trouble> {
        let modes = opened.pointer("/modes/availableModes").and_then(Value::as_array).into_iter().flatten();
        let knows = modes.into_iter().any(|mode| mode.get("id").is_some_and(|id| id == "plan"));
        if self.flags.permissions == Permit::Plan && knows {
            self.ask("session/set_mode", &json!({"sessionId": self.session, "modeId": "plan"}))?;
        }
        Ok(())
    }

    /// Asks the agent, and serves it until it has answered.
    fn ask(&mut self, method: &str, params: &Value) -> Result<Value, Trouble> {
        let number = self.peer.ask(method, params);
        loop {
            match self.peer.hear(self.cancelled) {
                Some(Heard::Message(message)) => {
                    if message.get("method").is_some() {
                        self.serve(&message);
                    } else if message.get("id").and_then(Value::as_u64) == Some(number) {
                        return match message.get("error") {
                            Some(error) => Err(told(error)),
                            None => Ok(message.get("result").cloned().unwrap_or(Value::Null)),
                        };
                    }
                }
                Some(Heard::Noise(words)) => self.events.noise(&words),
                Some(Heard::Gone) => return Err(Trouble::Gone),
                Some(Heard::Told) if method == "session/prompt" && self.cancelled.is_none() => {
                    self.peer.tell("session/cancel", &json!({"sessionId": self.session}));
                    self.cancelled = Some(Instant::now() + CANCEL);
                }
                Some(Heard::Told) | None => return Err(Trouble::Told),
            }
        }
    }

    /// Answers a question of the agent's, or takes a note.
    fn serve(&mut self, message: &Value) {
        let method = message.get("method").and_then(Value::as_str).unwrap_or_default();
        let nothing = json!({});
        let params = message.get("params").unwrap_or(&nothing);
        let Some(id) = message.get("id").filter(|id| !id.is_null()) else {
            if method == "session/update" {
                self.update(params.get("update").unwrap_or(&nothing));
            } else {
                self.events.tell(&json!({"type": "update", "of": method}));
            }
            return;
        };
        let answer = match method {
            "session/request_permission" => Ok(json!({"outcome": self.permission(params)})),
            "fs/read_text_file" => self.files.read(params).map(|content| json!({"content": content})),
            "fs/write_text_file" => self.files.write(params).map(|()| json!({})),
            _ => Err((NO_METHOD, format!("Method not found: {method}"))),
        };
        if method.starts_with("fs/") {
            let why = answer.as_ref().err().map(|(_, why)| why);
            self.events.tell(
                &json!({"type": "file", "of": method, "path": params.get("path"), "ok": why.is_none(), "why": why}),
            );
        }
        self.peer.answer(id, answer);
    }

    fn permission(&mut self, params: &Value) -> Value {
        let asked = params.get("toolCall").cloned().unwrap_or_default();
        let id = asked.get("toolCallId").and_then(Value::as_str).unwrap_or_default().to_owned();
        let call = self.learn(&id, &asked);
        self.begin(&id);
        if self.cancelled.is_some() {
            return json!({"outcome": "cancelled"});
        }
        let judged = self.flags.permissions.judge(&call, &self.files);
        let options = params.get("options").and_then(Value::as_array).cloned().unwrap_or_default();
        let chosen = self.flags.permissions.choose(&options, judged.is_ok());
        let why = match (&judged, &chosen) {
            (Err(why), _) => Some(why.clone()),
            (Ok(()), None) => Some("it offers no option that allows just this".into()),
            (Ok(()), Some(_)) => None,
        };
        self.events.tell(&json!({
            "type": "permission", "id": id, "tool": call.get("title"), "kind": call.get("kind"),
            "allowed": why.is_none(), "why": why,
        }));
        if let (Some(tool), Some(_)) = (self.tools.get_mut(&id), &why) {
            // Not every agent says that a call which was refused is over.
            tool.refused = true;
            self.events.tell(&json!({"type": "tool", "state": "end", "id": id, "ok": false}));
        }
        let refused = || self.flags.permissions.choose(&options, false);
        chosen.or_else(refused).unwrap_or_else(|| json!({"outcome": "cancelled"}))
    }

    fn update(&mut self, update: &Value) {
        let of = update.get("sessionUpdate").and_then(Value::as_str).unwrap_or_default();
        if of == "usage_update" {
            return self.cost(update);
        }
        if self.repeats {
            return;
        }
        let text = update.pointer("/content/text").and_then(Value::as_str);
        match (of, text) {
            ("agent_message_chunk", Some(text)) => self.events.tell(&json!({"type": "text", "text": text})),
            ("agent_thought_chunk", Some(text)) => self.events.tell(&json!({"type": "thought", "text": text})),
            ("tool_call" | "tool_call_update", _) => self.tool(update),
            ("plan", _) => self.events.tell(&json!({"type": "plan", "entries": update.get("entries")})),
            _ => self.events.tell(&json!({"type": "update", "of": of})),
        }
    }

    fn tool(&mut self, update: &Value) {
        let id = update.get("toolCallId").and_then(Value::as_str).unwrap_or_default().to_owned();
        let call = self.learn(&id, update);
        let status = call.get("status").and_then(Value::as_str).unwrap_or("pending");
        if self.tools.get(&id).is_some_and(|tool| tool.refused) {
            return;
        }
        // A call that is only announced has no input yet, or half of it.
        if status != "pending" {
            self.begin(&id);
        }
        match status {
            "completed" | "failed" => {
                self.tools.remove(&id);
                self.events.tell(&json!({"type": "tool", "state": "end", "id": id, "ok": status == "completed"}));
            }
            _ => self.events.tell(&json!({"type": "tool", "state": status, "id": id})),
        }
    }

    /// Lays what an update says over what is known of a tool call.
    fn learn(&mut self, id: &str, update: &Value) -> Value {
        let known = &mut self.tools.entry(id.to_owned()).or_default().known;
        for (name, value) in update.as_object().into_iter().flatten() {
            if !value.is_null() {
                known.insert(name.clone(), value.clone());
            }
        }
        json!(known)
    }

    fn begin(&mut self, id: &str) {
        let Some(tool) = self.tools.get_mut(id).filter(|tool| !tool.begun) else { return };
        tool.begun = true;
        let of = |name: &str| tool.known.get(name).cloned().unwrap_or_default();
        let input = match of("rawInput") {
            input if is_empty(&input) => json!({"title": of("title"), "locations": of("locations")}),
            input => input,
        };
        self.events.tell(&json!({
            "type": "tool", "state": "begin", "id": id, "name": of("title"), "kind": of("kind"), "input": input,
        }));
    }

    /// Notes a session's cost so far; of an old session only what has come since.
    fn cost(&mut self, update: &Value) {
        let dollars = update.pointer("/cost/currency").is_some_and(|currency| currency == "USD");
        let Some(cost) = update.pointer("/cost/amount").and_then(Value::as_f64).filter(|_| dollars) else {
            return self.events.tell(&json!({"type": "update", "of": "usage_update"}));
        };
        if self.repeats {
            self.cost_before = Some(cost);
        } else if self.flags.resume.is_none() || self.cost_before.is_some() {
            let since = (cost - self.cost_before.unwrap_or(0.0)).max(0.0);
            self.events.tell(&json!({"type": "cost", "usd": since}));
        }
    }
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Object(members) => members.is_empty(),
        _ => false,
    }
}
