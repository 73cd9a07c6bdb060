//! The Responses protocol: `POST /v1/responses`.

use serde_json::{Value, json};

use super::{
    ask::{self, Ask, Protocol, Say, Tool, ToolKind, Turn},
    http::event,
};

pub(super) fn read(body: &Value) -> Ask {
    let turns = match &body["input"] {
        Value::String(text) => vec![Turn::User(text.clone())],
        Value::Array(items) => items.iter().filter_map(turn).collect(),
        _ => Vec::new(),
    };
    let tools = body["tools"].as_array().into_iter().flatten().filter_map(|tool| match tool["type"].as_str() {
        Some("custom") => {
            Some(Tool { name: tool["name"].as_str()?.into(), kind: ToolKind::Freeform, schema: Value::Null })
        }
        _ => Tool::function(&tool["name"], &tool["parameters"]),
    });
    Ask {
        protocol: Protocol::Responses,
        model: body["model"].as_str().unwrap_or_default().into(),
        stream: body["stream"] == true,
        system: ask::texts(&body["instructions"]),
        turns,
        tools: tools.collect(),
    }
}

fn turn(item: &Value) -> Option<Turn> {
    match (item["type"].as_str(), item["role"].as_str()) {
        (Some(kind), _) if kind.ends_with("_output") => Some(Turn::ToolResult),
        (None | Some("message"), Some("user")) => Some(Turn::User(ask::texts(&item["content"]))),
        (None | Some("message"), Some("system" | "developer")) => None,
        _ => Some(Turn::Model),
    }
}

fn item(say: &Say) -> Value {
    match say {
        Say::Text(text) => {
            json!({"type": "message", "id": ask::fresh("msg"), "role": "assistant", "status": "completed", "content": [{"type": "output_text", "text": text, "annotations": []}]})
        }
        Say::Call { tool, kind: ToolKind::Freeform, arguments } => {
            json!({"type": "custom_tool_call", "id": ask::fresh("ctc"), "call_id": ask::fresh("call"), "name": tool, "input": arguments, "status": "completed"})
        }
        Say::Call { tool, arguments, .. } => {
            json!({"type": "function_call", "id": ask::fresh("fc"), "call_id": ask::fresh("call"), "name": tool, "arguments": arguments.to_string(), "status": "completed"})
        }
    }
}

pub(super) fn whole(ask: &Ask, say: &Say) -> Value {
    json!({
        "id": ask::fresh("resp"), "object": "response", "created_at": 1_767_600_000, "status": "completed", "model": ask.model, "output": [item(say)],
        "usage": {
            "input_tokens": ask::TOKENS_IN, "input_tokens_details": {"cached_tokens": ask::TOKENS_CACHED},
            "output_tokens": ask::TOKENS_OUT, "output_tokens_details": {"reasoning_tokens": 0}, "total_tokens": ask::TOKENS_IN + ask::TOKENS_OUT
        }
    })
}

pub(super) fn stream(ask: &Ask, say: &Say) -> Vec<String> {
    let whole = whole(ask, say);
    let item = whole["output"][0].clone();
    let begun =
        json!({"id": whole["id"], "object": "response", "status": "in_progress", "model": ask.model, "output": []});
    let mut events = vec![json!({"type": "response.created", "response": begun})];
    if let Say::Text(text) = say {
        let mut empty = item.clone();
        empty["content"] = json!([]);
        empty["status"] = "in_progress".into();
        events.push(json!({"type": "response.output_item.added", "output_index": 0, "item": empty}));
        events.extend(ask::pieces(text).into_iter().map(|piece| {
            json!({"type": "response.output_text.delta", "item_id": item["id"], "output_index": 0, "content_index": 0, "delta": piece})
        }));
    } else {
        events.push(json!({"type": "response.output_item.added", "output_index": 0, "item": item}));
    }
    if !matches!(say, Say::Text(text) if text.is_empty()) {
        events.push(json!({"type": "response.output_item.done", "output_index": 0, "item": item}));
    }
    events.push(json!({"type": "response.completed", "response": whole}));
    for (n, data) in events.iter_mut().enumerate() {
        data["sequence_number"] = n.into();
    }
    events.iter().map(|data| event(data["type"].as_str(), data)).collect()
}
