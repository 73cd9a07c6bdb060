//! Lines that others wrote, as a screen shows them: colours stay, every other escape goes.

use anstyle_parse::{Params, Parser, Perform, Utf8Parser};
use ratatui::{
    style::{Color, Modifier, Style},
    text::{Line, Span},
};

/// A tab is as wide as this many spaces.
const TAB: &str = "    ";

/// Reads a line with its colours.
pub(super) fn line(words: &str) -> Line<'static> {
    let mut seen = Seen::default();
    let mut parser = Parser::<Utf8Parser>::new();
    words.bytes().for_each(|byte| parser.advance(&mut seen, byte));
    seen.flush();
    Line::from(seen.spans)
}

#[derive(Default)]
struct Seen {
    spans: Vec<Span<'static>>,
    text: String,
    style: Style,
}

impl Seen {
    fn flush(&mut self) {
        if !self.text.is_empty() {
            self.spans.push(Span::styled(std::mem::take(&mut self.text), self.style));
        }
    }

    fn set(&mut self, codes: &[u16]) {
        self.flush();
        let mut codes = codes.iter().copied();
        while let Some(code) = codes.next() {
            self.style = match code {
                0 => Style::new(),
                1 => self.style.add_modifier(Modifier::BOLD),
                2 => self.style.add_modifier(Modifier::DIM),
                3 => self.style.add_modifier(Modifier::ITALIC),
                4 => self.style.add_modifier(Modifier::UNDERLINED),
                7 => self.style.add_modifier(Modifier::REVERSED),
                22 => self.style.remove_modifier(Modifier::BOLD | Modifier::DIM),
                23 => self.style.remove_modifier(Modifier::ITALIC),
                24 => self.style.remove_modifier(Modifier::UNDERLINED),
                27 => self.style.remove_modifier(Modifier::REVERSED),
                30..=37 => self.style.fg(named(code - 30)),
                38 => match colour(&mut codes) {
                    Some(colour) => self.style.fg(colour),
                    None => self.style,
                },
                39 => self.style.fg(Color::Reset),
                40..=47 => self.style.bg(named(code - 40)),
                48 => match colour(&mut codes) {
                    Some(colour) => self.style.bg(colour),
                    None => self.style,
                },
                49 => self.style.bg(Color::Reset),
                90..=97 => self.style.fg(named(code - 90 + 8)),
                100..=107 => self.style.bg(named(code - 100 + 8)),
                _ => self.style,
            };
        }
    }
}

/// Returns one of the terminal's own 16 colours.
fn named(number: u16) -> Color {
    Color::Indexed(u8::try_from(number).unwrap_or_default())
}

/// Reads the rest of `38;5;N` or `38;2;R;G;B`.
fn colour(codes: &mut impl Iterator<Item = u16>) -> Option<Color> {
    let byte = |code: Option<u16>| u8::try_from(code?).ok();
    match codes.next()? {
        5 => byte(codes.next()).map(Color::Indexed),
        2 => Some(Color::Rgb(byte(codes.next())?, byte(codes.next())?, byte(codes.next())?)),
        _ => None,
    }
}

impl Perform for Seen {
    fn print(&mut self, c: char) {
        match c.is_control() {
            true => self.text.push('\u{fffd}'),
            false => self.text.push_str(&oodatcaa_core::text::one_line(c.encode_utf8(&mut [0; 4]))),
        }
    }

    fn execute(&mut self, byte: u8) {
        match byte {
            b'\t' => self.text.push_str(TAB),
            b'\r' | b'\n' => {}
            _ => self.text.push('\u{fffd}'),
        }
    }

    fn csi_dispatch(&mut self, params: &Params, intermediates: &[u8], ignore: bool, action: u8) {
        if action == b'm' && intermediates.is_empty() && !ignore {
            let codes: Vec<u16> = params.iter().flatten().copied().collect();
            self.set(if codes.is_empty() { &[0] } else { &codes });
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn text(line: &Line<'_>) -> String {
        line.spans.iter().map(|span| span.content.as_ref()).collect()
    }

    #[test]
    fn colours_stay_and_every_other_escape_goes() {
        let seen =
            line("\x1b[31mred\x1b[0m \x1b[2J\x1b[10;10Hthere \x1b]0;title\x07\x1b]8;;http://x\x1b\\link\x1bc\tend");
        assert_eq!(text(&seen), "red there link    end");
        assert_eq!(seen.spans[0].style.fg, Some(Color::Indexed(1)));
        assert_eq!(seen.spans[1].style.fg, None);
        let bright = line("\x1b[1;38;5;208mx\x1b[48;2;1;2;3my\x1b[mz");
        assert_eq!(bright.spans[0].style.fg, Some(Color::Indexed(208)));
        assert!(bright.spans[0].style.add_modifier.contains(Modifier::BOLD));
        assert_eq!(bright.spans[1].style.bg, Some(Color::Rgb(1, 2, 3)));
        assert_eq!(bright.spans[2].style, Style::new());
    }

    proptest! {
        #[test]
        fn whatever_is_written_nothing_that_a_terminal_obeys_is_left(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let seen = line(&String::from_utf8_lossy(&bytes));
            prop_assert!(!text(&seen).chars().any(char::is_control));
        }
    }
}
