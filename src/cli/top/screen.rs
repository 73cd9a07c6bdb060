//! The terminal: taken over, drawn on, and given back as it was, also by a panic, a signal or a suspension.

use std::{
    io::{self, Stdout, Write as _},
    panic, thread,
};

use crossbeam_channel::{Receiver, Sender, unbounded};
use ratatui::{
    Frame, Terminal,
    backend::CrosstermBackend,
    crossterm::{
        cursor::Show,
        event::{self, Event},
        execute,
        terminal::{EnterAlternateScreen, LeaveAlternateScreen, disable_raw_mode, enable_raw_mode},
    },
};
use rustix::process::{Signal, getpid, kill_process};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

/// News from the terminal, and from whoever ends the program.
#[derive(Debug)]
pub(super) enum News {
    Input(Event),
    /// A signal said so, or the terminal is gone.
    Ended,
}

/// A terminal that is ours until this goes.
pub(super) struct Screen {
    terminal: Terminal<CrosstermBackend<Stdout>>,
    events: Receiver<News>,
}

impl Screen {
    /// Takes the terminal over and listens.
    pub(super) fn open() -> io::Result<Self> {
        let (tell, events) = unbounded();
        let before = panic::take_hook();
        panic::set_hook(Box::new(move |told| {
            // First, so that the words of the panic can be read; also where the program ends without unwinding.
            leave();
            before(told);
        }));
        signals(tell.clone())?;
        enter()?;
        // From here on it is given back, whatever fails.
        let screen = Self { terminal: Terminal::new(CrosstermBackend::new(io::stdout()))?, events };
        keys(tell)?;
        Ok(screen)
    }

    /// Returns where keys, sizes and signals arrive.
    pub(super) fn events(&self) -> &Receiver<News> {
        &self.events
    }

    /// Draws a frame; only what has changed is written.
    pub(super) fn draw(&mut self, on: impl FnOnce(&mut Frame<'_>)) -> io::Result<()> {
        self.terminal.draw(on).map(drop)
    }

    /// Gives the terminal back and stops, until somebody says to go on.
    pub(super) fn suspend(&mut self) -> io::Result<()> {
        leave();
        kill_process(getpid(), Signal::TSTP)?;
        enter()?;
        self.terminal.clear()
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        leave();
    }
}

fn enter() -> io::Result<()> {
    enable_raw_mode()?;
    execute!(io::stdout(), EnterAlternateScreen).inspect_err(|_| leave())
}

/// Gives the terminal back; one that is gone needs no mending.
fn leave() {
    let _ = execute!(io::stdout(), LeaveAlternateScreen, Show);
    let _ = disable_raw_mode();
    let _ = io::stdout().flush();
}

fn keys(tell: Sender<News>) -> io::Result<()> {
    let listen = move || {
        while let Ok(event) = event::read() {
            if tell.send(News::Input(event)).is_err() {
                return;
            }
        }
        let _ = tell.send(News::Ended);
    };
    thread::Builder::new().name("keys".into()).spawn(listen).map(drop)
}

fn signals(tell: Sender<News>) -> io::Result<()> {
    let mut signals = signal_hook::iterator::Signals::new([SIGINT, SIGTERM, SIGHUP])?;
    let listen = move || {
        if signals.forever().next().is_some() {
            let _ = tell.send(News::Ended);
        }
    };
    thread::Builder::new().name("signals".into()).spawn(listen).map(drop)
}
