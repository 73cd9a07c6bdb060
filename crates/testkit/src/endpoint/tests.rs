//! The endpoint by itself: what the programs rely on, without the programs.

use std::{
    io::{Read as _, Write as _},
    net::TcpStream,
};

use serde_json::{Value, json};

use super::{Endpoint, Script};

fn start(script: &str) -> Endpoint {
    Endpoint::start(Script::parse(script).expect("a script"), None).expect("an endpoint")
}

/// Head and body of an answer.
fn post(endpoint: &Endpoint, path: &str, body: &Value) -> (String, String) {
    let mut stream = TcpStream::connect(endpoint.address).expect("it listens");
    let body = body.to_string();
    write!(stream, "POST {path}?x=1 HTTP/1.1\r\nhost: x\r\ncontent-length: {}\r\n\r\n{body}", body.len())
        .expect("sent");
    let mut all = String::new();
    stream.read_to_string(&mut all).expect("an answer");
    let (head, body) = all.split_once("\r\n\r\n").expect("head and body");
    (head.into(), body.into())
}

fn messages(prompt: &str, stream: bool) -> Value {
    let write = json!({"name": "Write", "input_schema": {"properties": {"file_path": {}, "content": {}}, "required": ["file_path", "content", "why"]}});
    json!({"model": "m", "stream": stream, "tools": [write], "messages": [{"role": "user", "content": prompt}]})
}

fn status(head: &str) -> u16 {
    head.split(' ').nth(1).and_then(|code| code.parse().ok()).expect("a status")
}

#[test]
fn a_fault_passes_after_so_many_requests_and_each_prompt_counts_for_itself() {
    let endpoint = start("");
    let once = "[[fault status=429 retry_after=7 after=1 first=2]] [[text good]]";
    let answers: Vec<(String, String)> =
        (0..4).map(|_| post(&endpoint, "/v1/messages", &messages(once, true))).collect();
    let codes: Vec<u16> = answers.iter().map(|(head, _)| status(head)).collect();
    assert_eq!(codes, [200, 429, 429, 200]);
    assert!(answers[1].0.contains("retry-after: 7") && answers[1].1.contains("rate_limit_error"), "{answers:?}");
    assert!(answers[3].1.contains("text_delta"), "{answers:?}");
    assert_eq!(status(&post(&endpoint, "/v1/messages", &messages("[[text other]]", true)).0), 200);
    let seen = endpoint.seen();
    assert_eq!((seen[2].nth, seen[2].answer.as_str(), seen[4].nth), (3, "429", 1));
}

#[test]
fn each_turn_is_the_next_step_and_the_result_goes_where_the_prompt_says() {
    let endpoint = start(
        r#"rules = [{ name = "b", when = ["You are the builder"], steps = [
            { write = { path = "src/{task}.txt", text = "by the {role}" } },
            { result = { outcome = "done", summary = "{task}" } },
        ] }]"#,
    );
    let prompt = "# Task `A-1`, role builder\n\nYou are the builder\n- workspace (your working directory): `/w`\n- result file: `/w/r/result.json`";
    let mut ask = messages(prompt, false);
    let call = |ask: &Value| {
        let (_, body) = post(&endpoint, "/v1/messages", ask);
        let body: Value = serde_json::from_str(&body).expect("JSON");
        body["content"][0].clone()
    };
    let first = call(&ask);
    assert_eq!(first["name"], "Write");
    assert_eq!(
        (&first["input"]["file_path"], &first["input"]["content"]),
        (&json!("/w/src/A-1.txt"), &json!("by the builder"))
    );
    assert!(first["input"]["why"].is_string(), "what the schema demands is there: {first}");
    let turns = ask["messages"].as_array_mut().expect("a list");
    turns.push(json!({"role": "assistant", "content": [first]}));
    turns.push(json!({"role": "user", "content": [{"type": "tool_result", "content": "ok"}]}));
    let second = call(&ask);
    assert_eq!(second["input"]["file_path"], "/w/r/result.json");
    let result: Value = serde_json::from_str(second["input"]["content"].as_str().expect("a text")).expect("JSON");
    assert_eq!(result, json!({"outcome": "done", "summary": "A-1"}));
    ask["messages"].as_array_mut().expect("a list").push(json!({"role": "user", "content": [{"type": "tool_result"}]}));
    assert_eq!(call(&ask)["text"], "Done.");
}

#[test]
fn a_rule_for_the_first_prompts_leaves_the_others_to_the_next() {
    let endpoint =
        start("rules = [{ name = \"first\", prompts = 1, steps = [{ text = \"one\" }] }, { name = \"then\" }]");
    for prompt in ["a", "a", "b", "a"] {
        post(&endpoint, "/v1/messages", &messages(prompt, true));
    }
    let rules: Vec<String> = endpoint.seen().into_iter().map(|seen| seen.rule).collect();
    assert_eq!(rules, ["first", "first", "then", "first"]);
}

#[test]
fn every_protocol_calls_the_tool_in_its_own_words() {
    let endpoint = start("");
    let prompt = "[[write path=a.txt text=hi]]";
    let schema = json!({"properties": {"filePath": {}, "content": {}}});
    let chat = json!({"stream": true, "messages": [{"role": "user", "content": prompt}], "tools": [{"type": "function", "function": {"name": "write", "parameters": schema}}]});
    let (_, body) = post(&endpoint, "/v1/chat/completions", &chat);
    assert!(
        body.contains(r#""name":"write""#) && body.contains("filePath") && body.ends_with("data: [DONE]\n\n"),
        "{body}"
    );
    let shell =
        json!({"type": "function", "name": "exec_command", "parameters": {"properties": {"cmd": {"type": "string"}}}});
    let responses = json!({"stream": true, "tools": [shell], "input": [{"type": "message", "role": "user", "content": [{"type": "input_text", "text": prompt}]}]});
    let (_, body) = post(&endpoint, "/v1/responses", &responses);
    assert!(
        body.contains("function_call")
            && body.contains("printf %s 'hi' > 'a.txt'")
            && body.contains("response.completed"),
        "{body}"
    );
    let declared = json!({"functionDeclarations": [{"name": "write_file", "parametersJsonSchema": {"properties": {"file_path": {}, "content": {}}}}]});
    let gemini = json!({"contents": [{"role": "user", "parts": [{"text": prompt}]}], "tools": [declared]});
    let (_, body) = post(&endpoint, "/v1beta/models/g:streamGenerateContent", &gemini);
    assert!(body.contains("functionCall") && body.contains(r#""file_path":"a.txt""#), "{body}");
    let aider = json!({"messages": [{"role": "system", "content": "answer with SEARCH/REPLACE blocks"}, {"role": "user", "content": prompt}]});
    let (_, body) = post(&endpoint, "/v1/chat/completions", &aider);
    assert!(body.contains("<<<<<<< SEARCH"), "{body}");
}

#[test]
fn requests_beside_the_work_are_not_counted_and_the_outside_is_refused() {
    let endpoint = start("");
    let mut title = messages("[[text a]]", false);
    title["tools"] = json!([]);
    post(&endpoint, "/v1/messages", &title);
    post(&endpoint, "/v1/messages", &messages("[[text a]]", false));
    let seen = endpoint.seen();
    assert_eq!((seen[0].helper, seen[1].helper, seen[1].nth), (true, false, 1));
    let mut stream = TcpStream::connect(endpoint.address).expect("it listens");
    stream.write_all(b"CONNECT example.org:443 HTTP/1.1\r\n\r\n").expect("sent");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer");
    assert_eq!((status(&answer), endpoint.outside()), (502, vec!["CONNECT example.org:443".to_owned()]));
    assert_eq!(status(&post(&endpoint, "/nowhere", &json!({})).0), 404);
}
