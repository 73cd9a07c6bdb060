//! What an agent answers: errors in its words, figures in either of their forms.

use serde_json::{Value, json};

/// The reason why something that was asked has no answer.
pub(super) enum Trouble {
    /// The agent says so.
    Error { code: i64, message: String },
    /// The agent has closed its output.
    Gone,
    /// We were asked to end.
    Told,
}

/// Returns a trouble that we see and the agent does not.
pub(super) fn ours(message: String) -> Trouble {
    Trouble::Error { code: 0, message }
}

/// Returns an error as the agent tells it; what it means often stands beside the message.
pub(super) fn told(error: &Value) -> Trouble {
    let code = error.get("code").and_then(Value::as_i64).unwrap_or_default();
    let mut message = error.get("message").and_then(Value::as_str).unwrap_or("an error without a message").to_owned();
    let data = error.get("data");
    let details = data.and_then(|data| match data {
        Value::String(text) => Some(text.clone()),
        Value::Object(members) => {
            let words = ["details", "message", "error"].iter().find_map(|name| members.get(*name)?.as_str());
            words.map(str::to_owned)
        }
        _ => None,
    });
    if let Some(details) = details.filter(|details| !message.contains(details.as_str())) {
        message.push_str(": ");
        message.push_str(&details.chars().take(4_000).collect::<String>());
    }
    Trouble::Error { code, message }
}

/// Returns the figures of an answer, as the protocol has them or as one agent writes them.
pub(super) fn usage(answer: &Value) -> Option<Value> {
    let number = |pointer: &str| answer.pointer(pointer).and_then(Value::as_u64);
    if let (Some(input), Some(output)) = (number("/usage/inputTokens"), number("/usage/outputTokens")) {
        let part = |name: &str| number(&format!("/usage/{name}")).unwrap_or(0);
        let cached = part("cachedReadTokens");
        let input = input + cached + part("cachedWriteTokens");
        let output = output + part("thoughtTokens");
        return Some(json!({"type": "usage", "input": input, "output": output, "cached": cached}));
    }
    let (input, output) =
        (number("/_meta/quota/token_count/input_tokens")?, number("/_meta/quota/token_count/output_tokens")?);
    Some(json!({"type": "usage", "input": input, "output": output, "cached": null}))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_read_in_both_forms_and_never_made_up() {
        let of = |answer: Value| usage(&answer).map(|usage| (usage["input"].as_u64(), usage["output"].as_u64()));
        let spoken =
            json!({"usage": {"inputTokens": 10, "outputTokens": 2, "cachedReadTokens": 5, "thoughtTokens": 1}});
        assert_eq!(of(spoken), Some((Some(15), Some(3))));
        let other = json!({"_meta": {"quota": {"token_count": {"input_tokens": 7, "output_tokens": 3}}}});
        assert_eq!(of(other), Some((Some(7), Some(3))));
        assert_eq!(of(json!({"stopReason": "end_turn"})), None);
    }

    #[test]
    fn what_an_error_means_may_stand_beside_its_message() {
        let words = |error: Value| match told(&error) {
            Trouble::Error { message, .. } => message,
            _ => String::new(),
        };
        let details = json!({"code": -32603, "message": "Internal error", "data": {"details": "Invalid session"}});
        assert_eq!(words(details), "Internal error: Invalid session");
        assert_eq!(words(json!({"message": "a", "data": "a"})), "a");
        assert_eq!(words(json!({})), "an error without a message");
    }
}
