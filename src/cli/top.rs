//! `agentctl top`: the fleet on one screen, drawn when something changes, with what a person may do about it.
//!
//! Three threads send to the one that draws: keys, signals, and the reader, which alone touches files and git. So no slow
//! disk holds up a key. An act runs on a thread of its own as well.

mod act;
mod changes;
mod data;
mod draw;
mod log;
mod screen;
mod sgr;
mod state;
#[cfg(test)]
mod tests;

use std::{
    io::{self, IsTerminal as _},
    thread,
    time::{Duration, Instant},
};

use crossbeam_channel::{Receiver, Sender, never, select, unbounded};
use ratatui::crossterm::event::{Event, KeyEventKind};

use self::{
    act::Act,
    changes::Changes,
    data::{Asked, Data},
    draw::Scene,
    log::Log,
    screen::Screen,
    state::{Effect, State, View},
};
use super::{
    context::Context,
    fail::{Done, exit},
    status,
};
use oodatcaa_ops::{Failure, Project, TaskState};

/// Flags of `top`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Only look: nothing can be approved, stopped or tried again from there
    #[arg(long)]
    read_only: bool,
}

/// No two frames are closer together.
const FRAME: Duration = Duration::from_millis(100);

/// The time between two looks at the shown log while its attempt runs.
const LOOK: Duration = Duration::from_millis(300);

/// Shows the fleet until a person has seen enough. Where there is no terminal to draw on, prints the status.
pub(super) fn run(ctx: &Context, args: &Args) -> Done {
    if !ctx.ui.draws() || !io::stdin().is_terminal() || ctx.ui.json() {
        return status::run(ctx, &status::Args::default());
    }
    let root = ctx.project.layout()?.root().to_owned();
    // A project without a queue is told as by every other command, and not on a screen.
    ctx.read()?;
    let failed = |error: &io::Error| Failure::io("take over", "the terminal".as_ref(), error);
    let (ask, asked) = unbounded();
    let (tell, told) = unbounded();
    data::read_on(root, asked, tell).map_err(|error| failed(&error))?;
    let screen = Screen::open().map_err(|error| failed(&error))?;
    let mut top = Top {
        ctx,
        state: State::new(args.read_only),
        data: None,
        wrong: None,
        log: Log::default(),
        ask,
        changes: None,
        done: None,
    };
    top.drive(screen, &told).map_err(|error| failed(&error))
}

/// An answer from the thread beside the screen.
enum Back {
    /// An act, and what became of it.
    Acted(Act, Result<String, Failure>),
    /// The changes that the work on a task made.
    Changes(Result<Changes, Failure>),
}

/// The content of the screen, and the sources of its news.
struct Top<'a> {
    ctx: &'a Context,
    state: State,
    data: Option<Data>,
    wrong: Option<String>,
    log: Log,
    ask: Sender<Asked>,
    changes: Option<Changes>,
    /// The receiver of the answer while something runs beside the screen.
    done: Option<Receiver<Back>>,
}

impl Top<'_> {
    fn drive(&mut self, mut screen: Screen, told: &Receiver<Result<Data, String>>) -> io::Result<u8> {
        let (mut is_old, mut drawn) = (true, None::<Instant>);
        loop {
            let wait = drawn.map_or(Duration::ZERO, |drawn| FRAME.saturating_sub(drawn.elapsed()));
            if is_old && wait.is_zero() {
                self.draw(&mut screen)?;
                (is_old, drawn) = (false, Some(Instant::now()));
            }
            let idle = match (is_old, self.is_followed()) {
                (true, _) => crossbeam_channel::after(wait),
                (false, true) => crossbeam_channel::after(LOOK),
                (false, false) => never(),
            };
            let done = self.done.clone().unwrap_or_else(never);
            select! {
                recv(screen.events()) -> event => match event {
                    Ok(screen::News::Ended) | Err(_) => return Ok(exit::INTERRUPTED),
                    Ok(screen::News::Input(Event::Key(key))) if key.kind != KeyEventKind::Release => {
                        match self.state.on_key(key, self.data.as_ref()) {
                            Effect::Nothing => {}
                            Effect::Quit => return Ok(exit::OK),
                            Effect::Interrupt => return Ok(exit::INTERRUPTED),
                            Effect::Suspend => screen.suspend()?,
                            Effect::Ask(asked) => drop(self.ask.send(asked)),
                            Effect::Do(act) => {
                                let command = act.command();
                                self.beside(&command, move |project| {
                                    let done = act.run(project);
                                    Back::Acted(act, done)
                                });
                            }
                            Effect::Diff(task) => {
                                let command = Changes::command(&task);
                                self.beside(&command, move |project| Back::Changes(Changes::read(project, task)));
                            }
                        }
                        self.follow();
                        is_old = true;
                    }
                    // Of another size, for example.
                    Ok(screen::News::Input(_)) => is_old = true,
                },
                recv(told) -> read => {
                    match read {
                        Ok(Ok(data)) => self.take(data),
                        Ok(Err(wrong)) => self.wrong = Some(wrong),
                        Err(_) => return Err(io::Error::other("the reader has ended")),
                    }
                    is_old = !self.state.frozen || self.wrong.is_some();
                }
                recv(done) -> done => {
                    self.done = None;
                    match done {
                        Ok(Back::Acted(act, done)) => self.state.message = Some(act::told(&act, &done)),
                        Ok(Back::Changes(Ok(changes))) => {
                            self.state.show_diff(changes.lines.len());
                            self.changes = Some(changes);
                        }
                        Ok(Back::Changes(Err(failure))) => self.state.message = Some((false, failure.sentence())),
                        Err(_) => {}
                    }
                    is_old = true;
                }
                recv(idle) -> _ => is_old |= self.follow(),
            }
        }
    }

    fn draw(&self, screen: &mut Screen) -> io::Result<()> {
        let scene = Scene {
            ui: &self.ctx.ui,
            ascii: self.ctx.ui.ascii(),
            colours: self.ctx.ui.colours(),
            state: &self.state,
            data: self.data.as_ref(),
            log: &self.log,
            changes: self.changes.as_ref(),
            wrong: self.wrong.as_deref(),
        };
        screen.draw(|frame| {
            let area = frame.area();
            draw::draw(frame.buffer_mut(), area, &scene);
        })
    }

    fn take(&mut self, data: Data) {
        self.wrong = None;
        if self.state.frozen && self.data.is_some() {
            return;
        }
        self.state.stay(self.data.as_ref(), &data);
        self.data = Some(data);
        self.follow();
    }

    /// Goes on with the log of the selected task; tells whether there is something new of it.
    fn follow(&mut self) -> bool {
        let (Some(data), Ok(layout)) = (&self.data, self.ctx.project.layout()) else { return false };
        !self.state.frozen && self.state.view == View::Tasks && self.log.show(layout, data, self.state.task(data))
    }

    /// Tells whether the shown log may grow.
    fn is_followed(&self) -> bool {
        let Some(data) = self.data.as_ref().filter(|_| self.state.view == View::Tasks) else { return false };
        let selected = self.state.task(data);
        let runs = |task: &&oodatcaa_ops::view::TaskView| task.state == TaskState::Running;
        !self.state.frozen && data.tasks.iter().filter(runs).any(|task| Some(&task.id) == selected)
    }

    /// Runs something beside the screen, one thing at a time, and shows the command that does the same.
    fn beside(&mut self, command: &str, run: impl FnOnce(&Project) -> Back + Send + 'static) {
        if self.done.is_some() {
            self.state.message = Some((false, "what was asked before this has not ended yet".into()));
            return;
        }
        let Ok(root) = self.ctx.project.layout().map(|layout| layout.root().to_owned()) else { return };
        let (tell, done) = unbounded();
        self.state.message = Some((true, format!("{command} …")));
        // Whoever has left the screen by then finds it in the journal.
        let run = move || drop(tell.send(run(&Project::new(Some(root)))));
        match thread::Builder::new().name("beside".into()).spawn(run) {
            Ok(_) => self.done = Some(done),
            Err(error) => self.state.message = Some((false, format!("nothing was done: {error}"))),
        }
    }
}
