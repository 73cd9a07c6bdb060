//! The fencing number of a claim, and the name of the attempt's directory that bears it.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The fencing number of a claim: greater than every one before it for the same task.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(transparent)]
pub struct Token(pub u64);

impl Token {
    /// The greatest token that claims can reach on their own; a greater one is made up.
    const PLAUSIBLE: Self = Self(1 << 40);

    /// The same for the journal, where there is room for those that follow the greatest of the above.
    pub(crate) const PLAUSIBLE_TOLD: Self = Self(1 << 41);

    /// Tokens that follow one another so closely are believed wherever they stand.
    const NEAR: u64 = 1_000;

    /// Returns the token of the claim after this one.
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0 + 1)
    }

    /// Tells whether this may be a token, `known` being the greatest that is believed so far. What is not believed is
    /// passed over, so that nobody can have the numbers begin again by writing a great one somewhere.
    pub fn is_plausible(self, known: Self) -> bool {
        self <= Self::PLAUSIBLE || self.0 <= known.0.saturating_add(Self::NEAR)
    }

    /// Returns the greatest that can be believed of one that is known and of others.
    pub fn greatest(known: Self, others: impl IntoIterator<Item = Self>) -> Self {
        let mut others: Vec<Self> = others.into_iter().collect();
        others.sort_unstable();
        others.into_iter().fold(known, |known, token| if token.is_plausible(known) { token.max(known) } else { known })
    }
}

impl fmt::Display for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The name of an attempt's directory below its task's: the token, and random digits where something lay in the
/// token's own place already, so that nothing that was there before speaks for the attempt.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RunName(String);

impl RunName {
    /// Makes the name that scripts know.
    pub fn of(token: Token) -> Self {
        Self(token.to_string())
    }

    /// Makes another name for the same attempt, told apart by random digits.
    pub fn beside(token: Token, random: u64) -> Self {
        Self(format!("{token}-{random:016x}"))
    }

    /// Reads a name as it stands in leases, in the journal and in directories; anything else is none.
    pub fn parse(text: &str) -> Option<Self> {
        let (token, random) = text.split_once('-').map_or((text, None), |(token, random)| (token, Some(random)));
        let is_token = token.parse::<u64>().is_ok_and(|number| number.to_string() == token);
        let is_random = |text: &str| {
            (6..=16).contains(&text.len()) && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
        };
        (is_token && random.is_none_or(is_random)).then(|| Self(text.into()))
    }

    /// Returns the attempt's token.
    pub fn token(&self) -> Token {
        let digits = self.0.split('-').next().unwrap_or_default();
        Token(digits.parse().unwrap_or_default())
    }

    /// Returns it as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for RunName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Role, tests::lease};

    #[test]
    fn a_token_that_nobody_can_have_counted_to_is_believed_only_beside_one_that_is() {
        let Token(most) = Token::PLAUSIBLE;
        assert!(Token(most).is_plausible(Token(0)) && !Token(most + 1).is_plausible(Token(0)));
        assert!(
            Token(most + 1_001).is_plausible(Token(most + 1)) && !Token(most + 1_002).is_plausible(Token(most + 1))
        );
        assert_eq!(
            (most, Token::PLAUSIBLE_TOLD),
            (1 << 40, Token(2 * most)),
            "the journal has room for those after it"
        );
    }

    #[test]
    fn the_name_of_a_run_is_read_as_it_was_written_and_nothing_else_is_one() {
        for name in [RunName::of(Token(7)), RunName::beside(Token(7), 0xbeef)] {
            assert_eq!(RunName::parse(&name.to_string()), Some(name.clone()));
            assert_eq!((name.to_string().as_str(), name.token()), (name.as_str(), Token(7)));
        }
        let mut mine = lease("T", &Role::BUILDER, 7);
        for (run, name) in [("7", "7"), ("7-beefbeef", "7-beefbeef"), ("8-beefbeef", "7"), ("../8", "7"), ("", "7")] {
            mine.run = run.into();
            assert_eq!(mine.run_name().as_str(), name, "{run}");
        }
        for other in ["", "07", "+7", "-7", "7-", "7-beef", "7-BEEFBEEF", "7-0123456789abcdef0", "7/../8", "7 "] {
            assert_eq!(RunName::parse(other), None, "{other}");
        }
    }
}
