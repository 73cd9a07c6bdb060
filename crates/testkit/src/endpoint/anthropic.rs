//! The Messages protocol: `POST /v1/messages`.

use serde_json::{Value, json};

use super::{
    ask::{self, Ask, Protocol, Say, Tool, Turn},
    http::event,
    script::Kind,
};

pub(super) fn read(body: &Value) -> Ask {
    let turns = body["messages"].as_array().into_iter().flatten().map(|message| {
        let content = &message["content"];
        let answers = content.as_array().is_some_and(|parts| parts.iter().any(|part| part["type"] == "tool_result"));
        match message["role"].as_str() {
            Some("user") if answers => Turn::ToolResult,
            Some("user") => Turn::User(ask::texts(content)),
            _ => Turn::Model,
        }
    });
    let tools = body["tools"].as_array().into_iter().flatten();
    Ask {
        protocol: Protocol::Anthropic,
        model: body["model"].as_str().unwrap_or_default().into(),
        stream: body["stream"] == true,
        system: ask::texts(&body["system"]),
        turns: turns.collect(),
        tools: tools.filter_map(|tool| Tool::function(&tool["name"], &tool["input_schema"])).collect(),
    }
}

fn block(say: &Say) -> (Value, &'static str) {
    match say {
        Say::Text(text) => (json!({"type": "text", "text": text}), "end_turn"),
        Say::Call { tool, arguments, .. } => {
            (json!({"type": "tool_use", "id": ask::fresh("toolu"), "name": tool, "input": arguments}), "tool_use")
        }
    }
}

fn usage(out: u64) -> Value {
    json!({"input_tokens": ask::TOKENS_IN - ask::TOKENS_CACHED, "cache_read_input_tokens": ask::TOKENS_CACHED, "cache_creation_input_tokens": 0, "output_tokens": out})
}

pub(super) fn whole(ask: &Ask, say: &Say) -> Value {
    let (block, stop) = block(say);
    json!({"id": ask::fresh("msg"), "type": "message", "role": "assistant", "model": ask.model, "content": [block], "stop_reason": stop, "stop_sequence": null, "usage": usage(ask::TOKENS_OUT)})
}

pub(super) fn stream(ask: &Ask, say: &Say) -> Vec<String> {
    let mut message = whole(ask, say);
    let stop = message["stop_reason"].take();
    message["content"] = json!([]);
    message["usage"] = usage(1);
    let mut events = vec![json!({"type": "message_start", "message": message})];
    let (mut block, _) = block(say);
    let deltas: Vec<Value> = match say {
        Say::Text(text) => {
            block["text"] = "".into();
            ask::pieces(text).into_iter().map(|piece| json!({"type": "text_delta", "text": piece})).collect()
        }
        Say::Call { arguments, .. } => {
            block["input"] = json!({});
            let text = arguments.to_string();
            ask::pieces(&text)
                .into_iter()
                .map(|piece| json!({"type": "input_json_delta", "partial_json": piece}))
                .collect()
        }
    };
    let empty = matches!(say, Say::Text(text) if text.is_empty());
    if !empty {
        events.push(json!({"type": "content_block_start", "index": 0, "content_block": block}));
        events
            .extend(deltas.into_iter().map(|delta| json!({"type": "content_block_delta", "index": 0, "delta": delta})));
        events.push(json!({"type": "content_block_stop", "index": 0}));
    }
    events.push(json!({"type": "message_delta", "delta": {"stop_reason": stop, "stop_sequence": null}, "usage": {"output_tokens": ask::TOKENS_OUT}}));
    events.push(json!({"type": "message_stop"}));
    events.iter().map(|data| event(data["type"].as_str(), data)).collect()
}

pub(super) fn error(status: u16, kind: Kind) -> Value {
    let (class, message) = match (kind, status) {
        (Kind::Window, _) => ("rate_limit_error", "This request would exceed your account's rate limit."),
        (Kind::Credit, _) => ("invalid_request_error", "Your credit balance is too low to access the API."),
        (Kind::Context, _) => ("invalid_request_error", "prompt is too long: 250000 tokens > 200000 maximum"),
        (_, 401) => ("authentication_error", "invalid x-api-key"),
        (_, 403) => ("permission_error", "this key may not use the requested resource"),
        (_, 404) => ("not_found_error", "model: no such model"),
        (_, 429) => ("rate_limit_error", "Number of requests has exceeded your per-minute rate limit"),
        (_, 529) => ("overloaded_error", "Overloaded"),
        (_, 500..) => ("api_error", "Internal server error"),
        _ => ("invalid_request_error", "this request is refused"),
    };
    json!({"type": "error", "error": {"type": class, "message": message}})
}
