//! Placeholders in texts of the configuration: `{name}` is replaced, `{{name}}` is a literal `{name}`, other braces (JSON)
//! stand for themselves.

/// A piece of a text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Piece {
    /// Literal text.
    Text(String),
    /// The name of a value.
    Value(String),
}

/// Takes a text apart. An empty text is one empty piece.
pub fn pieces(text: &str) -> Vec<Piece> {
    let name_at = |rest: &str| -> Option<usize> {
        let length = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(rest.len());
        (length > 0 && rest.starts_with(|c: char| c.is_ascii_alphabetic())).then_some(length)
    };
    let mut all = Vec::new();
    let mut literal = String::new();
    let mut rest = text;
    while let Some(at) = rest.find('{') {
        literal.push_str(&rest[..at]);
        rest = &rest[at..];
        if let Some(inner) = rest.strip_prefix("{{")
            && let Some(length) = name_at(inner)
            && inner[length..].starts_with("}}")
        {
            literal.push_str(&rest[1..length + 3]);
            rest = &inner[length + 2..];
        } else if let Some(length) = name_at(&rest[1..]).filter(|length| rest[1 + length..].starts_with('}')) {
            if !literal.is_empty() {
                all.push(Piece::Text(std::mem::take(&mut literal)));
            }
            all.push(Piece::Value(rest[1..=length].into()));
            rest = &rest[length + 2..];
        } else {
            literal.push('{');
            rest = &rest[1..];
        }
    }
    literal.push_str(rest);
    if !literal.is_empty() || all.is_empty() {
        all.push(Piece::Text(literal));
    }
    all
}

/// Returns the names of the placeholders in a text.
pub fn named(text: &str) -> impl Iterator<Item = String> {
    pieces(text).into_iter().filter_map(|piece| match piece {
        Piece::Value(name) => Some(name),
        Piece::Text(_) => None,
    })
}

/// Fills a text in; `None` when one of its placeholders has no value.
pub fn filled(text: &str, value: &dyn Fn(&str) -> Option<String>) -> Option<String> {
    let piece = |piece| match piece {
        Piece::Text(text) => Some(text),
        Piece::Value(name) => value(&name),
    };
    pieces(text).into_iter().map(piece).collect()
}
