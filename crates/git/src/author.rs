//! Who commits, merges and tags.

use oodatcaa_core::{Role, text};

/// Who commits, merges and tags.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Author {
    /// The name.
    pub name: String,
    /// The mail address.
    pub email: String,
}

impl Author {
    /// Returns the one that the configuration names, as `Name <mail>`, else the role itself.
    pub fn of(configured: Option<&str>, role: &Role) -> Self {
        let named = configured.and_then(|text| text.split_once('<'));
        let named = named.map(|(name, email)| Self { name: clean(name), email: clean(email) });
        named.filter(|author| !author.name.is_empty() && !author.email.is_empty()).unwrap_or_else(|| {
            let role: String = role.as_str().chars().filter(|c| c.is_alphanumeric() || "._-".contains(*c)).collect();
            let role = if role.is_empty() { "agent" } else { &text::cut(&role, 100) };
            Self { name: format!("{role} (agent)"), email: format!("{role}@oodatcaa.invalid") }
        })
    }

    /// Returns ourselves, for commits that are only there to keep something.
    pub(crate) fn ourselves() -> Self {
        Self { name: "oodatcaa".into(), email: "oodatcaa@oodatcaa.invalid".into() }
    }

    /// Drops characters that git does not accept; an empty part gets ours.
    pub(crate) fn clean(&self) -> Self {
        let or =
            |part: &str, otherwise: &str| Some(clean(part)).filter(|part| !part.is_empty()).unwrap_or(otherwise.into());
        Self { name: or(&self.name, "oodatcaa"), email: or(&self.email, "oodatcaa@localhost") }
    }
}

/// Returns what git accepts of a name or an address: it drops the rest itself, and refuses what is empty then.
fn clean(part: &str) -> String {
    let part = text::cut(&text::one_line(part), 200).replace(['<', '>', '\u{fffd}'], "");
    part.trim().trim_matches(['.', ',', ':', ';', '"', '\\', '\'']).trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_author_is_the_configured_one_or_the_role() {
        let role = Role::BUILDER;
        assert_eq!(Author::of(Some("A B <a@b.c>"), &role), Author { name: "A B".into(), email: "a@b.c".into() });
        let own = Author { name: "builder (agent)".into(), email: "builder@oodatcaa.invalid".into() };
        assert_eq!(Author::of(None, &role), own);
        assert_eq!(Author::of(Some("nonsense"), &role), own);
        let hostile = Author::of(None, &Role::new("a\n<x>\u{1b}b"));
        assert_eq!(hostile.name, "axb (agent)");
    }

    #[test]
    fn an_author_is_made_of_what_git_accepts() {
        let author = Author { name: "a\n<b>\x1b".into(), email: " ".into() }.clean();
        assert_eq!(author, Author { name: "a b".into(), email: "oodatcaa@localhost".into() });
    }
}
