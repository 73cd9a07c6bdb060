//! What every protocol asks a model, and what a model answers, without the protocol.

use serde_json::Value;

/// Tokens of every answer; the same everywhere, so that a test can count on them.
pub const TOKENS_IN: u64 = 1234;
/// Tokens that a model wrote in each answer.
pub const TOKENS_OUT: u64 = 56;
/// Of the input, what came from the cache.
pub const TOKENS_CACHED: u64 = 100;

/// The protocols.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Protocol {
    Anthropic,
    Responses,
    Chat,
    Gemini,
}

/// A turn of the conversation so far.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Turn {
    User(String),
    Model,
    ToolResult,
}

/// How a tool is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ToolKind {
    /// By a JSON object.
    Function,
    /// By plain text.
    Freeform,
}

/// A tool on offer.
#[derive(Clone, Debug)]
pub(crate) struct Tool {
    pub(crate) name: String,
    pub(crate) kind: ToolKind,
    /// JSON schema of its arguments.
    pub(crate) schema: Value,
}

impl Tool {
    pub(super) fn function(name: &Value, schema: &Value) -> Option<Self> {
        Some(Self { name: name.as_str()?.into(), kind: ToolKind::Function, schema: schema.clone() })
    }
}

/// A request to a model.
#[derive(Clone, Debug)]
pub(crate) struct Ask {
    pub(crate) protocol: Protocol,
    pub(crate) model: String,
    pub(crate) stream: bool,
    pub(crate) system: String,
    pub(crate) turns: Vec<Turn>,
    pub(crate) tools: Vec<Tool>,
}

impl Ask {
    /// A request beside the work: no tools, though the program is one that works with tools.
    pub(super) fn is_helper(&self) -> bool {
        self.tools.is_empty() && !self.edits_by_text()
    }

    /// The directory that the program works in, as it or the prompt tells the model.
    pub(super) fn directory(&self) -> Option<&str> {
        const SIGNS: &[&str] = &[
            "your working directory): ",
            "Your working directory is: ",
            "working in the directory: ",
            "orking directory: ",
            "<cwd>",
        ];
        let prompts = self.turns.iter().filter_map(|turn| match turn {
            Turn::User(text) => Some(text.as_str()),
            _ => None,
        });
        let texts: Vec<&str> = prompts.chain([self.system.as_str()]).collect();
        let said = SIGNS.iter().flat_map(|sign| texts.iter().filter_map(move |text| text.split_once(sign)));
        let mut paths = said.map(|(_, after)| {
            let after = after.trim_start_matches('`');
            after.split(['\n', '`', '<']).next().unwrap_or_default().trim_end()
        });
        paths.find(|path| path.starts_with('/'))
    }

    /// Programs without tools that read edits out of the answer's text.
    pub(super) fn edits_by_text(&self) -> bool {
        self.system.contains("SEARCH/REPLACE")
    }
}

/// The model's answer.
#[derive(Clone, Debug)]
pub(crate) enum Say {
    Text(String),
    Call { tool: String, kind: ToolKind, arguments: Value },
}

/// The texts of a content that is a text or a list of parts with texts.
pub(super) fn texts(content: &Value) -> String {
    match content {
        Value::String(text) => text.clone(),
        Value::Array(parts) => {
            let texts: Vec<&str> = parts.iter().filter_map(|part| part["text"].as_str()).collect();
            texts.join("\n")
        }
        _ => String::new(),
    }
}

/// A text in pieces, none longer than fits comfortably into an event.
pub(super) fn pieces(text: &str) -> Vec<&str> {
    let mut all = Vec::new();
    let mut rest = text;
    while !rest.is_empty() {
        let mut end = rest.len().min(16 << 10);
        while !rest.is_char_boundary(end) {
            end -= 1;
        }
        let (piece, left) = rest.split_at(end);
        all.push(piece);
        rest = left;
    }
    all
}

/// A name that no other call of this process has.
pub(super) fn fresh(prefix: &str) -> String {
    static NEXT: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(1);
    format!("{prefix}_{:06}", NEXT.fetch_add(1, std::sync::atomic::Ordering::Relaxed))
}
