//! The supervisor: one small process that keeps the workers of a project, where no service manager does.
//!
//! What to do about a worker stands in [`supervise`], a pure table; here is the loop that feeds it and does what it
//! says. A thread per worker waits for its end and asks it now and then whether it works. The supervisor may be killed
//! at any moment: the workers go on, what is wanted of them is on the disk, and the next supervisor takes them over by
//! their pid files (pid, start time and boot).

use std::{
    collections::{BTreeMap, VecDeque},
    io,
    os::unix::process::{CommandExt as _, ExitStatusExt as _},
    path::PathBuf,
    process::{self, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use crossbeam_channel::{Receiver, Sender, at, never, select, unbounded};
use rustix::process::Signal as Kill;

use super::{
    FleetError,
    detach::open_log,
    holder::Handle,
    local::OF_A_SERVICE,
    pidfile::{self, State as Found},
};
use oodatcaa_core::{
    ChangeSet, Data, EventDraft, Role,
    control::{self, Reply, Signal, Status, Verb, Worker as View},
    event::{Actor, payload},
    layout::Layout,
    supervise::{self, Action, Exit, Input, Patience, State},
    text::{self, chain},
};
use oodatcaa_process::caller;
use oodatcaa_store::Desk;
use oodatcaa_sys::{
    files::{self, Durable},
    project::Place,
    socket::{self, Call},
};

/// The name of the supervisor's pid file, socket and log.
pub const NAME: &str = "supervisor";

/// The time between two questions to a worker that works.
const HEARTBEAT: Duration = Duration::from_secs(30);

/// The time in which it must answer.
const ANSWER: Duration = Duration::from_secs(5);

/// The time between two questions to a worker that is not ready.
const READY: Duration = Duration::from_millis(25);

/// The time after which a worker that holds its pid file and cannot be asked counts as ready.
const UNASKED: Duration = Duration::from_secs(2);

/// The longest wait for one worker to become ready before the next is started.
const STAGGER: Duration = Duration::from_secs(1);

/// The most workers of one role.
const MOST: u32 = 64;

/// Reads `ROLE=N`. Fails in words.
pub fn wanted(text: &str) -> Result<(String, u32), String> {
    let (role, count) = text.split_once('=').ok_or("expected ROLE=N, e.g. builder=3")?;
    match count.parse() {
        Ok(count) if count <= MOST => Ok((role.into(), count)),
        Ok(_) => Err(format!("at most {MOST} workers may serve one role")),
        Err(_) => Err("expected ROLE=N with a number, e.g. builder=3".into()),
    }
}

/// The largest note of what is wanted, in bytes.
const LONGEST: u64 = 64 << 10;

/// The wanted number of workers by role, as it stands on the disk.
type Wanted = BTreeMap<String, u32>;

/// A supervisor.
pub struct Supervisor {
    layout: Layout,
    daemon: PathBuf,
    roles: Vec<Role>,
    patience: Patience,
    store: Desk,
    wanted: Wanted,
    workers: BTreeMap<String, Kept>,
    /// Workers that are to be started, one after the other.
    queue: VecDeque<String>,
    /// The time at which the next one is started although the one before is not ready.
    next: Option<Instant>,
    began: Instant,
    stopping: u32,
    place: Place,
    told: (Sender<Told>, Receiver<Told>),
}

/// A worker that is kept.
struct Kept {
    role: Role,
    state: State,
    /// Its process, while there is one.
    handle: Option<Handle>,
    pid: Option<u32>,
    /// The number of its process among those of its name.
    life: u64,
    /// The reason of its last crash.
    why: Option<String>,
}

/// News from the thread of a worker.
struct Told {
    name: String,
    life: u64,
    input: Input,
}

impl Supervisor {
    /// Puts a supervisor together for these roles, in the order of their importance; nothing happens yet.
    pub fn new(layout: &Layout, daemon: PathBuf, roles: Vec<Role>, patience: Patience, store: Desk) -> Self {
        Self {
            layout: layout.clone(),
            daemon,
            roles,
            patience,
            store,
            wanted: Wanted::new(),
            workers: BTreeMap::new(),
            queue: VecDeque::new(),
            next: None,
            began: Instant::now(),
            stopping: 0,
            place: Place::of(layout.root()),
            told: unbounded(),
        }
    }

    /// Keeps the workers that are wanted: of these roles, and of those that a killed supervisor has left. Returns when
    /// nobody is left to keep.
    pub fn run(mut self, want: Wanted, signals: &Receiver<Signal>, calls: Receiver<Call>, ready: impl FnOnce()) {
        let mut calls = calls;
        let mut all = self.left_behind();
        all.extend(want);
        self.want(&all);
        ready();
        while self.stopping == 0 || self.workers.values().any(|kept| kept.state.has_process()) {
            if self.place.gone().is_some() {
                // The workers see it as well, and leave; there is nothing left to keep them for.
                log::info!("the project is not at {} any more", self.layout.root().display());
                return;
            }
            self.start_next();
            if self.is_idle() {
                log::info!("nobody is left to keep");
                break;
            }
            let due = self.due().map_or_else(never, at);
            select! {
                recv(signals) -> signal => match signal {
                    Ok(Signal::Wake) => {}
                    Ok(Signal::Stop) | Err(_) => if self.stop() { return },
                },
                recv(calls) -> call => match call {
                    Ok(call) => self.answer(call),
                    Err(_) => calls = never(),
                },
                recv(self.told.1) -> told => if let Ok(told) = told { self.hear(&told) },
                recv(due) -> _ => self.tick(),
            }
        }
        if self.wanted.values().all(|count| *count == 0) || self.stopping > 0 {
            // In good order nothing is wanted any more; after a kill the next supervisor reads it.
            let _ = files::remove(self.layout.root(), &self.note());
        }
    }

    /// Tells whether nobody is left to keep. A worker that is given up is shown until somebody stops or starts it.
    fn is_idle(&self) -> bool {
        self.queue.is_empty() && self.workers.values().all(|kept| kept.state == State::Stopped)
    }

    fn note(&self) -> PathBuf {
        self.layout.runtime().join("wanted.json")
    }

    /// Returns what was wanted of a supervisor that was killed.
    fn left_behind(&self) -> Wanted {
        let read = files::read_text(self.layout.root(), &self.note(), LONGEST).ok().flatten();
        let mut wanted: Wanted = read.and_then(|text| serde_json::from_str(&text).ok()).unwrap_or_default();
        wanted.retain(|role, count| self.roles.iter().any(|known| known.as_str() == role) && *count <= MOST);
        wanted
    }

    /// Wants so many workers of these roles, and notes it before anything is done about it.
    fn want(&mut self, roles: &Wanted) {
        self.wanted.extend(roles.iter().map(|(role, count)| (role.clone(), *count)));
        let text = serde_json::to_string(&self.wanted).expect("words and numbers");
        let noted = files::make_dir(self.layout.root(), &self.layout.runtime()).and_then(|()| {
            files::write_atomic(self.layout.root(), &self.note(), format!("{text}\n").as_bytes(), Durable::No)
        });
        if let Err(error) = noted {
            log::warn!("the next supervisor will not know which workers are wanted: failed to {}", chain(&error));
        }
        for role in self.roles.clone().into_iter().filter(|role| roles.contains_key(role.as_str())) {
            let count = self.wanted[role.as_str()];
            for n in 1..=count {
                self.wants_one(&role, n);
            }
            let surplus = self.workers.iter().filter(|(name, kept)| kept.role == role && number(name) > count);
            for name in surplus.map(|(name, _)| name.clone()).collect::<Vec<_>>() {
                self.queue.retain(|queued| *queued != name);
                self.step(&name, &Input::Stop);
            }
        }
    }

    /// Wants one worker: takes it over where it runs already, else has it started in its turn.
    fn wants_one(&mut self, role: &Role, n: u32) {
        let name = instance(role, n);
        let new = || Kept { role: role.clone(), state: State::Stopped, handle: None, pid: None, life: 0, why: None };
        match self.workers.entry(name.clone()).or_insert_with(new).state {
            State::Starting { .. } | State::Running { .. } => return,
            // Its turn comes when the old process has ended.
            State::Stopping { .. } => return self.step(&name, &Input::Start),
            State::Stopped | State::Waiting { .. } | State::Failed { .. } => {}
        }
        if !self.adopt(&name) && !self.queue.contains(&name) {
            self.queue.push_back(name);
        }
    }

    /// Takes over a worker that runs already.
    fn adopt(&mut self, name: &str) -> bool {
        let Ok(Found::Running(holder)) = pidfile::inspect(&self.layout, name) else { return false };
        let (Ok(Some(handle)), Ok(Some(watched))) = (holder.handle(), holder.handle()) else { return false };
        if holder.is_elsewhere(self.layout.root()) {
            return false;
        }
        log::info!("{name} runs already, pid {}: it is kept from here on", holder.pid);
        let now = self.began.elapsed();
        let kept = self.workers.get_mut(name).expect("it was just put there");
        kept.life += 1;
        (kept.handle, kept.pid) = (Some(handle), Some(holder.pid));
        kept.state = State::Starting { since: now, crashes: 0 };
        self.watch(name, watched, None);
        true
    }

    fn due(&self) -> Option<Instant> {
        let waits = self.workers.values().filter_map(|kept| kept.state.due(&self.patience));
        let waits = waits.map(|due| self.began + due).chain(self.next.filter(|_| !self.queue.is_empty()));
        // Now and then it looks whether its project is still there.
        waits.chain([Instant::now() + HEARTBEAT]).min()
    }

    /// Starts the next worker, unless the one before is not ready yet and still has a moment.
    fn start_next(&mut self) {
        while let Some(name) = self.queue.front() {
            let is_starting = self.workers.values().any(|kept| matches!(kept.state, State::Starting { .. }));
            if is_starting && self.next.is_some_and(|next| Instant::now() < next) {
                return;
            }
            let name = name.clone();
            self.queue.pop_front();
            self.next = Some(Instant::now() + STAGGER);
            self.step(&name, &Input::Start);
        }
    }

    fn tick(&mut self) {
        let now = self.began.elapsed();
        let is_due = |kept: &&Kept| kept.state.due(&self.patience).is_some_and(|due| now >= due);
        let due = self.workers.iter().filter(|(_, kept)| is_due(kept)).map(|(name, _)| name.clone());
        for name in due.collect::<Vec<_>>() {
            self.step(&name, &Input::Tick);
        }
    }

    fn hear(&mut self, told: &Told) {
        // What the thread of an earlier process of this name had still to say.
        if self.workers.get(&told.name).is_some_and(|kept| kept.life == told.life) {
            self.step(&told.name, &told.input);
        }
    }

    /// Gives an input to a worker's table and does what it says.
    fn step(&mut self, name: &str, input: &Input) {
        let now = self.began.elapsed();
        let Some(kept) = self.workers.get_mut(name) else { return };
        let (state, actions) = supervise::step(&kept.state, input, now, &self.patience);
        log::debug!("{name}: {input:?}: {} -> {}", kept.state.as_str(), state.as_str());
        kept.state = state;
        if !kept.state.has_process() {
            (kept.handle, kept.pid) = (None, None);
        }
        for action in actions {
            self.act(name, action);
        }
    }

    fn act(&mut self, name: &str, action: Action) {
        match action {
            Action::Spawn => {
                // Somebody may have started it by hand, or it is the one that another supervisor kept.
                if !self.adopt(name)
                    && let Err(error) = self.spawn(name)
                {
                    self.step(name, &Input::NotStarted(error.to_string()));
                }
            }
            Action::Terminate => self.signal(name, Kill::TERM),
            Action::Kill => {
                log::warn!("{name} does not end: it is killed");
                self.signal(name, Kill::KILL);
            }
            Action::TellCrash { why, wait, crashes } => {
                let wait_words = text::duration(wait);
                log::warn!("{name}: {why}; it is started again in {wait_words} ({crashes} in a row)");
                let crash = payload::Crash {
                    worker: Some(name.into()),
                    reason: Some(why.clone()),
                    crashes: Some(crashes.into()),
                    wait_ms: u64::try_from(wait.as_millis()).ok(),
                    ..payload::Crash::default()
                };
                self.tell(name, Data::WorkerCrashed(crash));
                self.keep_why(name, Some(why));
            }
            Action::TellFailed(why) => {
                log::error!("{name} is given up: {why}");
                let crash = payload::Crash {
                    worker: Some(name.into()),
                    reason: Some(why.clone()),
                    ..payload::Crash::default()
                };
                self.tell(name, Data::WorkerFailed(crash));
                self.keep_why(name, Some(why));
            }
            Action::TellLeft => {
                log::info!("{name} has left by itself; it is not started again");
                self.keep_why(name, None);
            }
        }
    }

    fn keep_why(&mut self, name: &str, why: Option<String>) {
        if let Some(kept) = self.workers.get_mut(name) {
            kept.why = why;
        }
    }

    fn signal(&self, name: &str, signal: Kill) {
        let Some(handle) = self.workers.get(name).and_then(|kept| kept.handle.as_ref()) else { return };
        if let Err(error) = handle.signal(signal) {
            log::warn!("cannot signal {name}: {error}");
        }
    }

    /// Notes an event about a worker; a store that cannot be written stops nothing here.
    fn tell(&self, name: &str, data: Data) {
        let Some(kept) = self.workers.get(name) else { return };
        let draft = EventDraft::new(data, Actor::Policy("supervisor".into())).role(&kept.role);
        let noted = self.store.transact(&mut |_| ChangeSet { events: vec![draft.clone()], ..ChangeSet::none() });
        if let Err(error) = noted {
            log::warn!("cannot note what became of {name}: failed to {}", chain(&error));
        }
    }

    /// Starts a process. It is a child of ours, and outlives us all the same.
    fn spawn(&mut self, name: &str) -> Result<(), FleetError> {
        if let Found::Stale(_) = pidfile::inspect(&self.layout, name)? {
            pidfile::clean(&self.layout, name)?;
        }
        pidfile::private_dir(&self.layout, &self.layout.logs())?;
        let path = pidfile::log_path(&self.layout, name);
        let log = open_log(&self.layout, &path)?;
        let to_log = || log.try_clone().map_err(|source| FleetError::io("open the log", &path, source));
        let kept = self.workers.get_mut(name).expect("only those that are kept are started");
        let mut command = Command::new(&self.daemon);
        command.args(["--role", kept.role.as_str(), "--supervised", "--project"]).arg(self.layout.root());
        if let Some((_, tag)) = name.split_once('@') {
            command.args(["--owner", tag]);
        }
        for variable in OF_A_SERVICE {
            command.env_remove(variable);
        }
        // A group of its own: what a terminal sends to us is ours to pass on.
        command.current_dir(self.layout.root()).stdin(Stdio::null()).stdout(to_log()?).stderr(to_log()?);
        let failed = |source| FleetError::io("execute", &self.daemon, source);
        let child = command.process_group(0).spawn().map_err(failed)?;
        let open = || Handle::of_child(child.id());
        let (handle, watched) = (open().map_err(failed)?, open().map_err(failed)?);
        kept.life += 1;
        (kept.handle, kept.pid) = (Some(handle), Some(child.id()));
        log::info!("{name} is started, pid {}", child.id());
        self.watch(name, watched, Some(child));
        Ok(())
    }

    /// Has a thread wait for a process's end, and ask it meanwhile.
    fn watch(&mut self, name: &str, handle: Handle, child: Option<process::Child>) {
        let kept = &self.workers[name];
        let watch = Watch {
            name: name.into(),
            life: kept.life,
            pid: kept.pid.unwrap_or_default(),
            layout: self.layout.clone(),
            tell: self.told.0.clone(),
        };
        let watcher = thread::Builder::new().name(format!("of {name}")).stack_size(128 << 10);
        if let Err(error) = watcher.spawn(move || watch.run(&handle, child)) {
            // Nobody would see its end: better to have it ended now than to lose sight of it.
            log::error!("cannot watch {name}: {error}");
            self.signal(name, Kill::KILL);
            self.step(name, &Input::NotStarted(error.to_string()));
        }
    }

    /// Stops all workers; `true` means leave at once.
    fn stop(&mut self) -> bool {
        self.stopping += 1;
        let names: Vec<String> = self.workers.keys().cloned().collect();
        match self.stopping {
            1 => {
                self.queue.clear();
                self.wanted.values_mut().for_each(|count| *count = 0);
                log::info!("stopping: each worker may let its attempts end");
                names.iter().for_each(|name| self.step(name, &Input::Stop));
            }
            // A second signal means to them what it means to us.
            2 => names.iter().for_each(|name| self.signal(name, Kill::TERM)),
            _ => {
                log::warn!("third signal: the workers are killed; whoever comes next gives back what they held");
                names.iter().for_each(|name| self.signal(name, Kill::KILL));
                return true;
            }
        }
        false
    }

    fn answer(&mut self, call: Call) {
        let answered = control::answer(&call.line, |verb| match (verb, caller::of(call.pid)) {
            (Verb::Status, _) => Reply { status: Some(self.status()), ..Reply::done() },
            (_, Some(why)) => Reply::refused(format!("only a person may do this, and {why}")),
            (Verb::Want { roles }, None) => self.is_wanted(&roles),
            (Verb::Drain | Verb::Shutdown, None) => {
                if self.stopping == 0 {
                    let _ = self.stop();
                }
                Reply::done()
            }
        });
        call.answer(answered);
    }

    fn is_wanted(&mut self, roles: &Wanted) -> Reply {
        if self.stopping > 0 {
            return Reply::refused("it is stopping");
        }
        for (role, count) in roles {
            if !self.roles.iter().any(|known| known.as_str() == role) {
                return Reply::refused(format!("there is no role `{}`", text::one_line(role)));
            }
            if *count > MOST {
                return Reply::refused(format!("at most {MOST} workers may serve one role"));
            }
        }
        self.want(roles);
        Reply { status: Some(self.status()), ..Reply::done() }
    }

    fn status(&self) -> Status {
        let queued = |name: &String| self.queue.contains(name);
        let view = |(name, kept): (&String, &Kept)| {
            let crashes = match &kept.state {
                State::Starting { crashes, .. } | State::Running { crashes, .. } | State::Waiting { crashes, .. } => {
                    *crashes
                }
                _ => 0,
            };
            View {
                name: name.clone(),
                role: kept.role.to_string(),
                state: if queued(name) { "queued" } else { kept.state.as_str() }.into(),
                pid: kept.pid,
                crashes,
                why: kept.why.clone(),
                needs_person: matches!(kept.state, State::Failed { needs_person: true, .. }),
            }
        };
        Status {
            kind: "supervisor".into(),
            name: NAME.into(),
            pid: process::id(),
            version: env!("CARGO_PKG_VERSION").into(),
            state: if self.stopping > 0 { "stopping" } else { "running" }.into(),
            attempts: Vec::new(),
            workers: self.workers.iter().map(view).collect(),
        }
    }
}

/// Returns the name of the nth worker of a role: the first is called as the role.
pub(crate) fn instance(role: &Role, n: u32) -> String {
    pidfile::name(role, (n > 1).then(|| n.to_string()).as_deref())
}

/// Returns which one of its role a worker is, by its name.
fn number(name: &str) -> u32 {
    name.split_once('@').map_or(1, |(_, n)| n.parse().unwrap_or(1))
}

/// The knowledge of the thread of a worker's process.
struct Watch {
    name: String,
    life: u64,
    pid: u32,
    layout: Layout,
    tell: Sender<Told>,
}

impl Watch {
    fn tell(&self, input: Input) {
        // A supervisor that has left needs to know nothing.
        let _ = self.tell.send(Told { name: self.name.clone(), life: self.life, input });
    }

    fn run(&self, handle: &Handle, child: Option<process::Child>) {
        let (mut is_ready, mut is_silent, mut wait) = (false, false, READY);
        let mut held_since = None;
        loop {
            match handle.ended_by(Instant::now() + wait) {
                Ok(false) => {}
                Ok(true) | Err(_) => return self.tell(Input::Exited(exit(child))),
            }
            wait = HEARTBEAT;
            match self.ask() {
                Some(true) if !is_ready => {
                    is_ready = true;
                    self.tell(Input::Ready);
                }
                Some(true) if is_silent => {
                    is_silent = false;
                    self.tell(Input::Answered);
                }
                Some(true) => {}
                answered if !is_ready => {
                    wait = READY;
                    // One that could not make its socket says so in its log, and works all the same.
                    let since = answered.is_none().then(|| self.holds_its_pid_file(&mut held_since)).flatten();
                    if since.is_some_and(|since| since.elapsed() >= UNASKED) {
                        is_ready = true;
                        self.tell(Input::Ready);
                    }
                }
                Some(false) => {
                    is_silent = true;
                    wait = READY;
                    self.tell(Input::Silent);
                }
                // Somebody removed its socket: that it lives is all that can be known.
                None => {}
            }
        }
    }

    /// Returns since when it has been seen to hold its pid file, which it takes right before its socket.
    fn holds_its_pid_file(&self, since: &mut Option<Instant>) -> Option<Instant> {
        match pidfile::inspect(&self.layout, &self.name) {
            Ok(Found::Running(holder)) if holder.pid == self.pid => Some(*since.get_or_insert_with(Instant::now)),
            _ => None,
        }
    }

    /// Asks whether it works; `None` where there is nothing to ask at.
    fn ask(&self) -> Option<bool> {
        match socket::ask(&self.layout.socket(&self.name), &Verb::Status.line(), ANSWER) {
            Ok(line) => Some(Reply::read(&line).and_then(|reply| reply.status).is_some_and(|is| is.pid == self.pid)),
            Err(error) if [io::ErrorKind::NotFound, io::ErrorKind::ConnectionRefused].contains(&error.kind()) => None,
            Err(_) => Some(false),
        }
    }
}

/// Returns how a process ended that has ended.
fn exit(child: Option<process::Child>) -> Exit {
    let status = child.and_then(|mut child| child.wait().ok());
    match status.map(|status| (status.code(), status.signal())) {
        Some((Some(code), _)) => Exit::Code(code),
        Some((None, Some(signal))) => Exit::Signal(signal),
        _ => Exit::Unknown,
    }
}
