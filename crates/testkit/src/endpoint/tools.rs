//! Which of the offered tools does what the script wants, and with which arguments.

use serde_json::{Map, Value, json};

use super::ask::{Ask, Say, Tool, ToolKind};

/// Tools that write a file, best first.
const WRITERS: &[&str] = &["Write", "write_file", "write", "create", "create_file"];
/// Tools that run a command.
const SHELLS: &[&str] = &["exec_command", "shell_command", "shell", "local_shell", "Bash", "bash", "run_shell_command"];
/// What a writer calls the file and what is to stand in it.
const PATHS: &[&str] = &["file_path", "filePath", "path", "absolute_path", "filename"];
const TEXTS: &[&str] = &["content", "file_text", "contents", "text"];
/// What a shell calls its command.
const COMMANDS: &[&str] = &["command", "cmd"];

/// The call that writes a file.
pub(super) fn write(ask: &Ask, path: &str, text: &str) -> Say {
    if let Some(tool) = find(ask, WRITERS) {
        // Some take absolute paths only.
        let whole = match ask.directory() {
            Some(directory) if !path.starts_with('/') => format!("{directory}/{path}"),
            _ => path.into(),
        };
        return call(tool, &[(PATHS, whole.into()), (TEXTS, text.into())]);
    }
    if find(ask, SHELLS).is_some() {
        let dir = path.rsplit_once('/').map_or(".", |(dir, _)| if dir.is_empty() { "/" } else { dir });
        return run(ask, &format!("mkdir -p {} && printf %s {} > {}", quoted(dir), quoted(text), quoted(path)));
    }
    if let Some(tool) = find(ask, &["apply_patch"]) {
        let lines: String = text.lines().map(|line| format!("+{line}\n")).collect();
        let patch = format!("*** Begin Patch\n*** Add File: {path}\n{lines}*** End Patch\n");
        return match tool.kind {
            ToolKind::Freeform => Say::Call { tool: tool.name.clone(), kind: tool.kind, arguments: patch.into() },
            ToolKind::Function => call(tool, &[(&["input", "patch"], patch.into())]),
        };
    }
    if ask.edits_by_text() {
        let end = if text.ends_with('\n') { "" } else { "\n" };
        return Say::Text(format!("{path}\n```\n<<<<<<< SEARCH\n=======\n{text}{end}>>>>>>> REPLACE\n```\n"));
    }
    Say::Text("No tool to write a file with is on offer.".into())
}

/// The call that runs a command.
pub(super) fn run(ask: &Ask, command: &str) -> Say {
    let Some(tool) = find(ask, SHELLS) else { return Say::Text("No tool to run a command with is on offer.".into()) };
    let name = COMMANDS.iter().find(|name| !tool.schema["properties"][**name].is_null()).unwrap_or(&"command");
    let list = tool.schema["properties"][*name]["type"] == "array";
    let value = if list { json!(["bash", "-lc", command]) } else { command.into() };
    call(tool, &[(COMMANDS, value)])
}

fn find<'a>(ask: &'a Ask, names: &[&str]) -> Option<&'a Tool> {
    names.iter().find_map(|name| ask.tools.iter().find(|tool| tool.name == *name))
}

/// A call with each value under the name that the tool's schema has for it, and what else it cannot do without.
fn call(tool: &Tool, values: &[(&[&str], Value)]) -> Say {
    let properties = &tool.schema["properties"];
    let mut arguments = Map::new();
    for (names, value) in values {
        let name = names.iter().find(|name| !properties[**name].is_null()).unwrap_or(&names[0]);
        arguments.insert((*name).into(), value.clone());
    }
    for name in tool.schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str) {
        if !arguments.contains_key(name) {
            let filler = match properties[name]["type"].as_str() {
                Some("boolean") => json!(false),
                Some("number" | "integer") => json!(0),
                Some("array") => json!([]),
                Some("object") => json!({}),
                _ => json!("as the script says"),
            };
            arguments.insert(name.into(), filler);
        }
    }
    Say::Call { tool: tool.name.clone(), kind: tool.kind, arguments: arguments.into() }
}

/// A word for a shell.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}
