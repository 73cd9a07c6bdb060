//! A whole screen that is drawn again and again, until a key or a signal ends it.

use std::{
    io::{self, IsTerminal as _, Read as _, Write as _},
    thread,
};

use crossbeam_channel::{Receiver, Sender, unbounded};
use rustix::termios::{LocalModes, OptionalActions, SpecialCodeIndex, Termios, tcgetattr, tcsetattr};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGWINCH};

/// What a watcher of the screen did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Key {
    /// The terminal has another size.
    Resized,
    /// Enough: `q`.
    Quit,
    /// Enough, by a signal; the shell is told so.
    Interrupted,
}

/// The terminal's other screen; what was there before comes back when it goes.
#[derive(Debug)]
pub(crate) struct Screen {
    keys: Receiver<Key>,
    before: Option<Termios>,
    alternate: bool,
}

impl Screen {
    /// Takes the terminal over, where there is one (`cursor`), and listens for keys and signals.
    pub(super) fn new(cursor: bool) -> Self {
        let (tell, keys) = unbounded();
        signals(tell.clone());
        let before = if cursor && io::stdin().is_terminal() { unbuffered(tell) } else { None };
        if cursor {
            put("\x1b[?1049h\x1b[?25l");
        }
        Self { keys, before, alternate: cursor }
    }

    /// Returns where keys and signals arrive.
    pub(crate) fn keys(&self) -> &Receiver<Key> {
        &self.keys
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        if self.alternate {
            put("\x1b[?25h\x1b[?1049l");
        }
        if let Some(before) = &self.before {
            // A terminal that is gone needs no mending.
            let _ = tcsetattr(io::stdin(), OptionalActions::Now, before);
        }
    }
}

fn put(escape: &str) {
    // Whoever closed the terminal does not see it either.
    let _ = io::stdout().write_all(escape.as_bytes()).and_then(|()| io::stdout().flush());
}

/// Keys come one by one and are not shown; Ctrl-C stays a signal.
fn unbuffered(tell: Sender<Key>) -> Option<Termios> {
    let before = tcgetattr(io::stdin()).ok()?;
    let mut raw = before.clone();
    raw.local_modes -= LocalModes::ICANON | LocalModes::ECHO;
    raw.special_codes[SpecialCodeIndex::VMIN] = 1;
    raw.special_codes[SpecialCodeIndex::VTIME] = 0;
    tcsetattr(io::stdin(), OptionalActions::Now, &raw).ok()?;
    let read = move || {
        let mut key = [0];
        while let Ok(1) = io::stdin().read(&mut key) {
            if matches!(key, [b'q' | b'Q']) && tell.send(Key::Quit).is_err() {
                return;
            }
        }
    };
    // Without the thread Ctrl-C still ends it.
    let _ = thread::Builder::new().name("keys".into()).spawn(read);
    Some(before)
}

fn signals(tell: Sender<Key>) {
    let Ok(mut signals) = signal_hook::iterator::Signals::new([SIGINT, SIGTERM, SIGHUP, SIGWINCH]) else { return };
    let listen = move || {
        for signal in signals.forever() {
            let key = if signal == SIGWINCH { Key::Resized } else { Key::Interrupted };
            if tell.send(key).is_err() {
                return;
            }
        }
    };
    // Without the thread the signals would be swallowed; then the next frame's closed terminal ends it.
    let _ = thread::Builder::new().name("signals".into()).spawn(listen);
}
