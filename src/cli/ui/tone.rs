//! What a piece of text is, shown by one of the terminal's own colours.

/// What a piece of text is, for its colour; one of the terminal's own 16.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Tone {
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
    pub(crate) fn paint(self, text: &str) -> String {
        if self == Self::Plain {
            return text.into();
        }
        let style = self.style();
        format!("{style}{text}{style:#}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plain_tone_adds_nothing() {
        assert_eq!(Tone::Plain.paint("x"), "x");
        assert_eq!(Tone::Bad.paint("x"), "\u{1b}[31mx\u{1b}[0m");
    }
}
