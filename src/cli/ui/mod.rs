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
use serde::Serialize;
use serde_json::Value;

use oodatcaa_core::{text, time::stamp};
use oodatcaa_ops::{ErrorKind, Failure};

mod answer;
mod screen;
mod table;

pub(super) use screen::{Key, Screen};
pub(super) use table::{Item, Table};

/// What a piece of text is, for its colour; one of the terminal's own 16.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Tone {
    #[default]
    Plain,
    Strong,
    Faint,
    Good,
    Bad,
    Warn,
    Busy,
}

impl Tone {
    fn style(self) -> anstyle::Style {
        use anstyle::AnsiColor as C;
        let plain = anstyle::Style::new();
        match self {
            Self::Plain => plain,
            Self::Strong => plain.bold(),
            Self::Faint => plain.dimmed(),
            Self::Good => C::Green.on_default(),
            Self::Bad => C::Red.on_default(),
            Self::Warn => C::Yellow.on_default(),
            Self::Busy => C::Cyan.on_default(),
        }
    }

    /// Paints a text; a stream that may not colour takes it off again.
    pub(super) fn paint(self, text: &str) -> String {
        if self == Self::Plain {
            return text.into();
        }
        let style = self.style();
        format!("{style}{text}{style:#}")
    }
}

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

    /// Prints a line of data; on a terminal wrapped at words.
    pub(super) fn line(&self, line: &str) {
        match self.terminal {
            true => line.split('\n').for_each(|line| {
                self.verbatim(&table::wrap_line(&self.shown(&text::painted(line), self.terminal), self.width()));
            }),
            false => self.verbatim(line),
        }
    }

    /// Wraps a line for this terminal.
    pub(super) fn wrapped(&self, line: &str) -> String {
        table::wrap_line(line, self.width())
    }

    /// Prints a line of code or of a log: never wrapped.
    pub(super) fn verbatim(&self, line: &str) {
        self.put(&[self.shown(&text::painted(line), self.terminal).as_bytes(), b"\n"]);
    }

    /// Prints data as it is, byte for byte.
    pub(super) fn bytes(&self, bytes: &[u8]) {
        self.put(&[bytes]);
    }

    /// Prints a table: aligned on a terminal, tabs in a pipe, the first column alone with `-q`.
    pub(super) fn table(&self, table: &Table) {
        if self.quiet() {
            table.rows().for_each(|row| self.line(row[0].piped()));
        } else if self.terminal {
            self.put(&[self.aligned(table).as_bytes()]);
        } else {
            self.put(&[table.tabbed().as_bytes()]);
        }
    }

    /// Renders a table as this terminal shows it.
    pub(super) fn aligned(&self, table: &Table) -> String {
        match self.ascii {
            // What alignment itself puts in has such letters of its own width.
            true => ascii_fallback(&table.in_ascii().aligned(self.width()).replace('…', ".")),
            false => table.aligned(self.width()),
        }
    }

    /// Prints a JSON value: indented for a person, on one line for a program.
    pub(super) fn value(&self, value: &impl Serialize) {
        self.object(value, self.terminal);
    }

    /// Prints a JSON value of a stream: always on one line, and at once.
    pub(super) fn record(&self, value: &impl Serialize) {
        self.object(value, false);
        self.flush();
    }

    fn object(&self, value: &impl Serialize, indented: bool) {
        debug_assert!(is_named(value), "a program could not tell what this is");
        let text = if indented { serde_json::to_string_pretty(value) } else { serde_json::to_string(value) };
        let text = text::harmless_json(text.expect("a JSON value can be written"));
        self.put(&[text.as_bytes(), b"\n"]);
    }

    /// Opens the terminal's other screen, for frames; keys and signals end it.
    pub(super) fn screen(&self) -> Screen {
        Screen::new(self.terminal && self.cursor && !self.settings.json)
    }

    /// Prints a whole screen in place of the one before.
    pub(super) fn frame(&self, frame: &str) {
        if self.terminal && self.cursor {
            self.flush();
            // The stream below may take every escape off; where the cursor goes is no matter of colour.
            self.note(io::stdout().write_all(b"\x1b[H\x1b[2J"));
        }
        self.put(&[self.shown(&text::painted(frame), self.terminal).as_bytes()]);
        self.flush();
    }

    /// Tells a person what was done or what to do next.
    pub(super) fn say(&self, line: &str) {
        if !self.settings.quiet {
            self.talk(line);
        }
    }

    /// Tells a person at a terminal what to do next, below a table.
    pub(super) fn foot(&self, line: &str) {
        if self.terminal && self.talk_terminal && !self.settings.json {
            self.say(&Tone::Faint.paint(line));
        }
    }

    /// Warns a person.
    pub(super) fn warn(&self, message: &str) {
        self.talk(&format!("{} {message}", Tone::Warn.paint("warning:")));
    }

    /// Prints a failure: words with hints, or one object (`--json`).
    pub(super) fn fail(&self, failure: &Failure) {
        self.flush();
        if self.settings.json {
            self.talk_raw(&text::harmless_json(
                serde_json::to_string(&failure.view()).expect("a JSON value can be written"),
            ));
            return;
        }
        for line in failure.human().lines() {
            let marks = [("error:", Tone::Bad), (" hint:", Tone::Good), ("  see:", Tone::Faint)];
            match marks.iter().find_map(|(mark, tone)| Some((mark, tone, line.strip_prefix(mark)?))) {
                Some((mark, tone, rest)) => self.talk(&format!("{}{rest}", tone.paint(mark))),
                None => self.talk(line),
            }
        }
    }

    /// Asks; `Err` where nobody can answer, so that nothing ever hangs (exit 2).
    pub(super) fn confirm(&self, question: &str) -> Result<bool, Failure> {
        if self.settings.yes {
            return Ok(true);
        }
        let Some(answers) = &self.answers else {
            return Err(Failure::new(ErrorKind::NeedsConfirmation, format!("cannot ask: {question}"))
                .hint("answer it beforehand with --yes"));
        };
        self.flush();
        let mut err = self.err.borrow_mut();
        let _ = write!(err, "{question} [y/N] ").and_then(|()| err.flush());
        let mut answer = String::new();
        let read = answers.borrow_mut().read_line(&mut answer);
        Ok(read.is_ok() && matches!(answer.trim().to_ascii_lowercase().as_str(), "y" | "yes"))
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

    /// Writes what is buffered.
    pub(super) fn flush(&self) {
        let result = self.out.borrow_mut().flush();
        self.note(result);
    }

    /// Ends the output; fails when it could not be written, for another reason than a closed pipe.
    pub(super) fn finish(&self) -> Result<(), Failure> {
        self.flush();
        match self.trouble.get() {
            None | Some(io::ErrorKind::BrokenPipe) => Ok(()),
            Some(kind) => Err(Failure::from(io::Error::from(kind)).cause("while writing standard output")),
        }
    }

    /// Returns a text as a terminal can show it: ASCII where it speaks no UTF-8.
    fn shown<'a>(&self, line: &'a str, terminal: bool) -> Cow<'a, str> {
        if self.ascii && terminal && !line.is_ascii() { Cow::Owned(ascii_fallback(line)) } else { Cow::Borrowed(line) }
    }

    fn talk(&self, line: &str) {
        let line = text::painted(line);
        let line = self.shown(&line, true);
        match self.talk_terminal {
            true => self.talk_raw(&table::wrap_line(&line, self.width())),
            false => self.talk_raw(&line),
        }
    }

    fn talk_raw(&self, line: &str) {
        self.flush();
        // Nobody is left to be told that standard error is closed.
        let _ = writeln!(self.err.borrow_mut(), "{line}");
    }

    fn put(&self, parts: &[&[u8]]) {
        if self.closed() {
            return;
        }
        let mut out = self.out.borrow_mut();
        let result = parts.iter().try_for_each(|part| out.write_all(part));
        drop(out);
        self.note(result);
    }

    fn note(&self, result: io::Result<()>) {
        if let Err(error) = result
            && self.trouble.get().is_none()
        {
            self.trouble.set(Some(error.kind()));
        }
    }
}

/// Tells whether each object says which form it has: our own by `schema`, an event by `specversion`.
fn is_named(value: &impl Serialize) -> bool {
    match serde_json::to_value(value) {
        Ok(Value::Array(all)) => all.iter().all(is_named),
        Ok(Value::Object(object)) => object.contains_key("schema") || object.contains_key("specversion"),
        _ => false,
    }
}

fn ascii_fallback(line: &str) -> String {
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
    fn glyphs_have_ascii_twins() {
        assert_eq!(ascii_fallback("● a → b … ✓ ✗ ○ — ü"), "> a -> b ... + x . - ü");
    }

    #[test]
    fn a_plain_tone_adds_nothing() {
        assert_eq!(Tone::Plain.paint("x"), "x");
        assert_eq!(Tone::Bad.paint("x"), "\u{1b}[31mx\u{1b}[0m");
    }
}
