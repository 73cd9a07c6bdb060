//! The only place that prints: data to standard output, talk to standard error.
//!
//! A terminal gets aligned tables, relative times and colour; a pipe gets tabs, whole texts and
//! RFC 3339; `--json` gets objects whose members are an interface. Printing never fails for its
//! caller: a closed pipe turns what follows into silence, any other trouble is told at the end.

use std::{
    borrow::Cow,
    cell::{Cell, RefCell},
    io::{self, BufRead, BufReader, BufWriter, IsTerminal as _, Write},
    time::Duration,
};

use anstream::{AutoStream, ColorChoice};
use chrono::{DateTime, Utc};
use rustix::termios::tcgetwinsize;

use oodatcaa_core::{text, time::stamp};

mod answer;
mod output;
mod screen;
mod table;
mod talk;
mod tone;

pub(super) use screen::{Key, Screen};
pub(super) use table::{Item, Table};
pub(super) use tone::Tone;

/// The flags that say how a command speaks.
#[derive(Clone, Copy, Debug, Default, clap::Args)]
#[command(next_help_heading = "Everywhere")]
pub(super) struct Settings {
    /// JSON for programs instead of words
    #[arg(long, global = true)]
    pub json: bool,
    /// Ids only, and nothing else
    #[arg(short, long, global = true)]
    pub quiet: bool,
    /// Say more about what is done; twice for all of it
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    pub verbose: u8,
    /// When to colour; `auto` means on a terminal, unless the environment says otherwise
    #[arg(long, global = true, value_enum, value_name = "WHEN", default_value_t)]
    pub color: clap::ColorChoice,
    /// Never ask; fail instead
    #[arg(long, global = true)]
    pub no_input: bool,
    /// Answer every question with yes
    #[arg(short, long, global = true)]
    pub yes: bool,
}

/// Standard output and standard error, and what they can show.
pub(super) struct Ui {
    settings: Settings,
    terminal: bool,
    talk_terminal: bool,
    cursor: bool,
    ascii: bool,
    out: RefCell<Box<dyn Write>>,
    err: RefCell<Box<dyn Write>>,
    /// Where answers come from, where somebody can be asked.
    answers: Option<RefCell<Box<dyn BufRead>>>,
    trouble: Cell<Option<io::ErrorKind>>,
}

impl Ui {
    /// Looks at the standard streams and at the environment.
    pub(super) fn new(settings: Settings) -> Self {
        let env = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
        let locale = ["LC_ALL", "LC_CTYPE", "LANG"].into_iter().find_map(env).unwrap_or_default().to_ascii_lowercase();
        let utf8 = locale.contains("utf-8") || locale.contains("utf8");
        let choice = match settings.color {
            clap::ColorChoice::Auto => ColorChoice::Auto,
            clap::ColorChoice::Always => ColorChoice::Always,
            clap::ColorChoice::Never => ColorChoice::Never,
        };
        let asks = !settings.no_input && io::stdin().is_terminal();
        Self {
            settings,
            terminal: io::stdout().is_terminal(),
            talk_terminal: io::stderr().is_terminal(),
            cursor: env("TERM").is_some_and(|term| term != "dumb"),
            ascii: !utf8 || env("OODATCAA_ASCII").is_some(),
            out: RefCell::new(Box::new(BufWriter::with_capacity(1 << 16, AutoStream::new(io::stdout(), choice)))),
            err: RefCell::new(Box::new(AutoStream::new(io::stderr(), choice))),
            answers: asks.then(|| RefCell::new(Box::new(BufReader::new(io::stdin())) as _)),
            trouble: Cell::new(None),
        }
    }

    /// Tells whether objects are wanted instead of words.
    pub(super) fn json(&self) -> bool {
        self.settings.json
    }

    /// Tells whether only ids are wanted.
    pub(super) fn quiet(&self) -> bool {
        self.settings.quiet
    }

    /// Tells whether a person looks at standard output and wants words.
    pub(super) fn pretty(&self) -> bool {
        self.terminal && !self.settings.json
    }

    /// Tells whether standard output is a terminal.
    pub(super) fn terminal(&self) -> bool {
        self.terminal
    }

    /// Tells whether standard output is a terminal on which the cursor can go anywhere.
    pub(super) fn draws(&self) -> bool {
        self.terminal && self.cursor
    }

    /// Tells whether the terminal speaks no UTF-8.
    pub(super) fn ascii(&self) -> bool {
        self.ascii
    }

    /// Tells whether standard output may be coloured.
    pub(super) fn colours(&self) -> bool {
        match self.settings.color {
            clap::ColorChoice::Always => true,
            clap::ColorChoice::Never => false,
            clap::ColorChoice::Auto => AutoStream::choice(&io::stdout()) != ColorChoice::Never,
        }
    }

    /// Columns of the terminal.
    pub(super) fn width(&self) -> usize {
        let asked = std::env::var("COLUMNS").ok().and_then(|columns| columns.parse().ok());
        let found = || tcgetwinsize(io::stdout()).ok().map(|size| size.ws_col.into());
        asked.or_else(found).filter(|&columns| columns > 0).unwrap_or(80)
    }

    /// Rows of the terminal, where it tells.
    pub(super) fn height(&self) -> Option<usize> {
        tcgetwinsize(io::stdout()).ok().map(|size| size.ws_row.into()).filter(|&rows| rows > 0)
    }

    /// Tells whether nobody reads standard output any more.
    pub(super) fn closed(&self) -> bool {
        self.trouble.get().is_some()
    }

    /// Says a moment: how long ago for a person, RFC 3339 for a program.
    pub(super) fn moment(&self, time: DateTime<Utc>, now: DateTime<Utc>) -> String {
        if !self.pretty() {
            return stamp(time);
        }
        match (now - time).to_std() {
            Ok(ago) => format!("{} ago", text::duration(Duration::from_secs(ago.as_secs()))),
            Err(_) => format!("in {}", text::duration((time - now).to_std().unwrap_or_default())),
        }
    }

    /// Returns a text as a terminal can show it: ASCII where it speaks no UTF-8.
    fn shown<'a>(&self, line: &'a str, terminal: bool) -> Cow<'a, str> {
        if self.ascii && terminal && !line.is_ascii() { Cow::Owned(ascii_fallback(line)) } else { Cow::Borrowed(line) }
    }
}

/// Writes a text in the letters of a terminal that speaks no UTF-8, as far as there are any.
pub(super) fn ascii_fallback(line: &str) -> String {
    let mut ascii = String::with_capacity(line.len());
    for c in line.chars() {
        match c {
            '→' => ascii.push_str("->"),
            '…' => ascii.push_str("..."),
            '●' => ascii.push('>'),
            '◆' => ascii.push('!'),
            '↻' => ascii.push('r'),
            '○' => ascii.push('.'),
            '✗' => ascii.push('x'),
            '✓' => ascii.push('+'),
            '▶' | '›' => ascii.push('>'),
            '─' => ascii.push('-'),
            '▏' => ascii.push('|'),
            '·' | '—' | '–' => ascii.push('-'),
            '“' | '”' => ascii.push('"'),
            '’' => ascii.push('\''),
            '≤' => ascii.push_str("<="),
            c => ascii.push(c),
        }
    }
    ascii
}

#[cfg(test)]
pub(crate) mod tests {
    use std::rc::Rc;

    use super::*;

    /// A [`Ui`] that keeps what it says and answers questions with what a test gave it.
    pub(crate) struct FakeUi {
        pub(crate) ui: Ui,
        said: Said,
    }

    #[derive(Clone, Default)]
    struct Said(Rc<RefCell<Vec<u8>>>);

    impl Write for Said {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.borrow_mut().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl FakeUi {
        pub(crate) fn new(settings: Settings, answer: Option<bool>) -> Self {
            let said = Said::default();
            let stream = || RefCell::new(Box::new(said.clone()) as Box<dyn Write>);
            let answers = answer.map(|yes| if yes { "y\ny\n" } else { "n\n" }.as_bytes());
            let ui = Ui {
                terminal: false,
                talk_terminal: false,
                cursor: false,
                ascii: false,
                out: stream(),
                err: stream(),
                answers: answers.map(|words| RefCell::new(Box::new(words) as _)),
                ..Ui::new(settings)
            };
            Self { ui, said }
        }

        pub(crate) fn text(&self) -> String {
            String::from_utf8(self.said.0.borrow().clone()).expect("text")
        }
    }

    #[test]
    fn glyphs_have_ascii_fallbacks() {
        assert_eq!(ascii_fallback("● a → b … ✓ ✗ ○ — ü"), "> a -> b ... + x . - ü");
    }
}
