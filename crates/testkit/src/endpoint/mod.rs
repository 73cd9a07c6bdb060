//! A model provider that answers by a script, for driving the real agent programs without a key and without a network.
//!
//! Here stands the server: it listens on the loopback, bounds what it takes on, keeps what it has seen and forgets
//! nobody when it stops. What it answers is `script`'s business, how a protocol says it is each protocol's.

use std::{
    collections::HashMap,
    fs::File,
    io::{self, Read as _, Write as _},
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    path::Path,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use serde::Serialize;

mod anthropic;
mod ask;
mod chat;
mod gemini;
mod http;
mod responses;
mod script;
#[cfg(test)]
mod tests;
mod tools;

use ask::{Ask, Protocol, Say};
pub use ask::{TOKENS_CACHED, TOKENS_IN, TOKENS_OUT};
use http::{Body, Request};
pub use script::Script;
use script::{Act, Asked, Break, Hang, Trouble};

/// Connections at one time; what comes on top is refused.
const MOST_CONNECTIONS: usize = 128;
/// Requests that are remembered; a program in an endless loop must not fill the memory.
const MOST_SEEN: usize = 10_000;
/// How often a hanging answer looks whether anybody is still there.
const LOOK: Duration = Duration::from_millis(50);

/// One request as it was seen and answered; a line of the log.
#[derive(Clone, Debug, Serialize)]
pub struct Seen {
    /// Its number, from 1.
    pub n: usize,
    /// Milliseconds since the start.
    pub at: u64,
    /// Method and path, without the query.
    pub request: String,
    /// The rule of the script that answered.
    pub rule: String,
    /// The number of the request under this rule, helper requests not counted.
    pub nth: u32,
    /// Tool results since the prompt.
    pub turn: usize,
    /// A request beside the work, e.g. for a title.
    pub helper: bool,
    /// What was answered: `text`, `call Write`, `429`, `hang before`, …
    pub answer: String,
    /// The tools on offer.
    pub tools: Vec<String>,
    /// The model that was asked for.
    pub model: String,
    /// Bytes of the request.
    pub bytes: usize,
}

#[derive(Default)]
struct State {
    script: Script,
    asked: HashMap<String, Asked>,
    seen: Vec<Seen>,
    total: usize,
    log: Option<File>,
    outside: Vec<String>,
}

struct Shared {
    state: Mutex<State>,
    began: Instant,
    stopping: AtomicBool,
    open: AtomicUsize,
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn stopping(&self) -> bool {
        self.stopping.load(Ordering::SeqCst)
    }
}

/// The endpoint; it stops when it is dropped.
pub struct Endpoint {
    address: SocketAddr,
    shared: Arc<Shared>,
}

impl Endpoint {
    /// Listens on a free port of the loopback. Each request becomes a line of `log`.
    pub fn start(script: Script, log: Option<&Path>) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let address = listener.local_addr()?;
        let log = log.map(File::create).transpose()?;
        let shared = Arc::new(Shared {
            state: Mutex::new(State { script, log, ..State::default() }),
            began: Instant::now(),
            stopping: AtomicBool::new(false),
            open: AtomicUsize::new(0),
        });
        let accepting = Arc::clone(&shared);
        thread::Builder::new().name("endpoint".into()).spawn(move || accept(&listener, &accepting))?;
        Ok(Self { address, shared })
    }

    /// `http://127.0.0.1:PORT`.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// From now on it answers by this script; what the rules were asked so far is forgotten.
    pub fn play(&self, script: Script) {
        let mut state = self.shared.state();
        (state.script, state.asked) = (script, HashMap::new());
    }

    /// Everything that was asked, in order.
    pub fn seen(&self) -> Vec<Seen> {
        self.shared.state().seen.clone()
    }

    /// What was wanted from outside by way of the proxy variables; it was refused.
    pub fn outside(&self) -> Vec<String> {
        self.shared.state().outside.clone()
    }

    /// Connections that are open, the hanging ones among them.
    pub fn open(&self) -> usize {
        self.shared.open.load(Ordering::SeqCst)
    }
}

impl Drop for Endpoint {
    fn drop(&mut self) {
        self.shared.stopping.store(true, Ordering::SeqCst);
        // Wakes the listener, which looks at the flag then.
        drop(TcpStream::connect(self.address));
    }
}

fn accept(listener: &TcpListener, shared: &Arc<Shared>) {
    for stream in listener.incoming() {
        if shared.stopping() {
            return;
        }
        let Ok(stream) = stream else { continue };
        if shared.open.fetch_add(1, Ordering::SeqCst) >= MOST_CONNECTIONS {
            shared.open.fetch_sub(1, Ordering::SeqCst);
            continue;
        }
        let inner = Arc::clone(shared);
        let served = thread::Builder::new().name("endpoint-answer".into()).spawn(move || {
            // A program that is killed leaves in the middle of an answer: nothing to say about.
            let _ = serve(stream, &inner);
            inner.open.fetch_sub(1, Ordering::SeqCst);
        });
        if served.is_err() {
            shared.open.fetch_sub(1, Ordering::SeqCst);
        }
    }
}

fn serve(mut stream: TcpStream, shared: &Shared) -> io::Result<()> {
    stream.set_read_timeout(Some(Duration::from_secs(30)))?;
    stream.set_nodelay(true)?;
    let Some(request) = http::read(&mut stream)? else { return Ok(()) };
    if request.method == "CONNECT" || request.path.starts_with("http") {
        shared.state().outside.push(format!("{} {}", request.method, request.path));
        return http::respond(&mut stream, 502, &[], &Body::json(&serde_json::json!({"error": "there is no outside"})));
    }
    let Some(ask) = read_ask(&request) else {
        let status = if matches!(request.method.as_str(), "HEAD" | "OPTIONS") { 200 } else { 404 };
        let words = format!("{status}");
        note(shared, &request, "", (0, 0), false, &words, None);
        let body = serde_json::json!({"error": {"message": "no such path here", "code": status, "type": "not_found"}});
        return http::respond(&mut stream, status, &[], &Body::json(&body));
    };
    let act = {
        let mut state = shared.state();
        let State { script, asked, .. } = &mut *state;
        script.decide(&ask, asked)
    };
    let words = act.words();
    note(shared, &request, &act.rule, (act.nth, act.turn), act.helper, &words, Some(&ask));
    answer(&mut stream, shared, &ask, act)
}

/// What the request asks a model; `None` for everything else.
fn read_ask(request: &Request) -> Option<Ask> {
    if request.method != "POST" {
        return None;
    }
    let body: serde_json::Value = serde_json::from_slice(&request.body).ok()?;
    match request.path.as_str() {
        path if path.ends_with("/messages") => Some(anthropic::read(&body)),
        path if path.ends_with("/responses") => Some(responses::read(&body)),
        path if path.ends_with("/chat/completions") => Some(chat::read(&body)),
        path => gemini::read(path, &body),
    }
}

fn note(
    shared: &Shared,
    request: &Request,
    rule: &str,
    (nth, turn): (u32, usize),
    helper: bool,
    answer: &str,
    ask: Option<&Ask>,
) {
    let mut state = shared.state();
    state.total += 1;
    let seen = Seen {
        n: state.total,
        at: u64::try_from(shared.began.elapsed().as_millis()).unwrap_or(u64::MAX),
        request: format!("{} {}", request.method, request.path),
        rule: rule.into(),
        nth,
        turn,
        helper,
        answer: answer.into(),
        tools: ask.map(|ask| ask.tools.iter().map(|tool| tool.name.clone()).collect()).unwrap_or_default(),
        model: ask.map(|ask| ask.model.clone()).unwrap_or_default(),
        bytes: request.body.len(),
    };
    if let Some(log) = &mut state.log
        && let Ok(mut line) = serde_json::to_vec(&seen)
    {
        line.push(b'\n');
        let _ = log.write_all(&line);
    }
    if state.seen.len() < MOST_SEEN {
        state.seen.push(seen);
    }
}

fn answer(stream: &mut TcpStream, shared: &Shared, ask: &Ask, act: Act) -> io::Result<()> {
    match act.trouble {
        Some(Trouble::Status { status, headers, kind, resets }) => {
            let body = match ask.protocol {
                Protocol::Anthropic => anthropic::error(status, kind),
                Protocol::Responses | Protocol::Chat => chat::error(status, kind, resets),
                Protocol::Gemini => gemini::error(status, kind),
            };
            let headers: Vec<(&str, &str)> = headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
            http::respond(stream, status, &headers, &Body::json(&body))
        }
        Some(Trouble::Hang(Hang::Before)) => hang(stream, shared),
        Some(Trouble::Hang(Hang::After)) => {
            http::head(stream, 200, &[("content-type", "text/event-stream")])?;
            let events = encode(ask, &Say::Text(String::new()));
            stream.write_all(events.first().map_or("", String::as_str).as_bytes())?;
            hang(stream, shared)
        }
        Some(Trouble::Break(Break::Garbage)) => {
            http::respond(stream, 200, &[("content-type", "text/html")], &Body::text("<html>not what you asked for"))
        }
        Some(Trouble::Break(Break::Cut)) => {
            http::head(stream, 200, &[("content-type", "text/event-stream")])?;
            let events = encode(ask, &Say::Text("This sentence is never".into()));
            events.iter().take(events.len() / 2).try_for_each(|event| stream.write_all(event.as_bytes()))
        }
        None => {
            let say = act.say.unwrap_or_else(|| Say::Text(String::new()));
            if ask.stream {
                http::head(stream, 200, &[("content-type", "text/event-stream")])?;
                encode(ask, &say).iter().try_for_each(|event| stream.write_all(event.as_bytes()))
            } else {
                http::respond(stream, 200, &[], &Body::json(&whole(ask, &say)))
            }
        }
    }
}

fn encode(ask: &Ask, say: &Say) -> Vec<String> {
    match ask.protocol {
        Protocol::Anthropic => anthropic::stream(ask, say),
        Protocol::Responses => responses::stream(ask, say),
        Protocol::Chat => chat::stream(ask, say),
        Protocol::Gemini => gemini::stream(ask, say),
    }
}

fn whole(ask: &Ask, say: &Say) -> serde_json::Value {
    match ask.protocol {
        Protocol::Anthropic => anthropic::whole(ask, say),
        Protocol::Responses => responses::whole(ask, say),
        Protocol::Chat => chat::whole(ask, say),
        Protocol::Gemini => gemini::whole(ask, say),
    }
}

/// Says nothing more, until the other side has gone or the endpoint stops.
fn hang(stream: &mut TcpStream, shared: &Shared) -> io::Result<()> {
    stream.set_read_timeout(Some(LOOK))?;
    let mut byte = [0_u8; 64];
    while !shared.stopping() {
        match stream.read(&mut byte) {
            Ok(0) => return Ok(()),
            Ok(_) => {}
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}
