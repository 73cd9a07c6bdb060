//! Standard output: lines, tables, objects and frames. Printing never fails for its caller.

use std::io::{self, Write as _};

use serde::Serialize;
use serde_json::Value;

use super::{Screen, Table, Ui, ascii_fallback, table};
use oodatcaa_core::text;
use oodatcaa_ops::Failure;

impl Ui {
    /// Prints a line of data; on a terminal wrapped at words.
    pub(crate) fn line(&self, line: &str) {
        match self.terminal {
            true => line.split('\n').for_each(|line| {
                self.verbatim(&table::wrap_line(&self.shown(&text::painted(line), self.terminal), self.width()));
            }),
            false => self.verbatim(line),
        }
    }

    /// Wraps a line for this terminal.
    pub(crate) fn wrapped(&self, line: &str) -> String {
        table::wrap_line(line, self.width())
    }

    /// Prints a line of code or of a log: never wrapped.
    pub(crate) fn verbatim(&self, line: &str) {
        self.put(&[self.shown(&text::painted(line), self.terminal).as_bytes(), b"\n"]);
    }

    /// Prints data as it is, byte for byte.
    pub(crate) fn bytes(&self, bytes: &[u8]) {
        self.put(&[bytes]);
    }

    /// Prints a table: aligned on a terminal, tabs in a pipe, the first column alone with `-q`.
    pub(crate) fn table(&self, table: &Table) {
        if self.quiet() {
            table.rows().for_each(|row| self.line(row[0].piped()));
        } else if self.terminal {
            self.put(&[self.aligned(table).as_bytes()]);
        } else {
            self.put(&[table.tabbed().as_bytes()]);
        }
    }

    /// Renders a table as this terminal shows it.
    pub(crate) fn aligned(&self, table: &Table) -> String {
        match self.ascii {
            // What alignment itself puts in has such letters of its own width.
            true => ascii_fallback(&table.in_ascii().aligned(self.width()).replace('…', ".")),
            false => table.aligned(self.width()),
        }
    }

    /// Prints a JSON value: indented for a person, on one line for a program.
    pub(crate) fn value(&self, value: &impl Serialize) {
        self.object(value, self.terminal);
    }

    /// Prints a JSON value of a stream: always on one line, and at once.
    pub(crate) fn record(&self, value: &impl Serialize) {
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
    pub(crate) fn screen(&self) -> Screen {
        Screen::new(self.terminal && self.cursor && !self.settings.json)
    }

    /// Prints a whole screen in place of the one before.
    pub(crate) fn frame(&self, frame: &str) {
        if self.terminal && self.cursor {
            self.flush();
            // The stream below may take every escape off; where the cursor goes is no matter of colour.
            self.note(io::stdout().write_all(b"\x1b[H\x1b[2J"));
        }
        self.put(&[self.shown(&text::painted(frame), self.terminal).as_bytes()]);
        self.flush();
    }

    /// Writes what is buffered.
    pub(crate) fn flush(&self) {
        let result = self.out.borrow_mut().flush();
        self.note(result);
    }

    /// Ends the output; fails when it could not be written, for another reason than a closed pipe.
    pub(crate) fn finish(&self) -> Result<(), Failure> {
        self.flush();
        match self.trouble.get() {
            None | Some(io::ErrorKind::BrokenPipe) => Ok(()),
            Some(kind) => Err(Failure::from(io::Error::from(kind)).cause("while writing standard output")),
        }
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
