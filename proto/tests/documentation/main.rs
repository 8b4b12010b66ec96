//! `docs/protocol.md` is made from the comments of the .proto files. This test fails when it is not up to date;
//! `make docs` writes it anew.

#![expect(clippy::unwrap_used, reason = "tests: a surprise ends the test")]

mod links;

use std::collections::HashMap;
use std::fmt::Write as _;
use std::path::Path;

use image_manager_proto::FILE_DESCRIPTOR_SET;
use prost::Message as _;
use prost_types::field_descriptor_proto::{Label, Type};
use prost_types::{
    DescriptorProto, EnumDescriptorProto, FieldDescriptorProto, FileDescriptorProto, FileDescriptorSet,
    ServiceDescriptorProto,
};

// Numbers of fields in descriptor.proto, of which the paths of comments are made.
const FILE_MESSAGE: i32 = 4;
const FILE_ENUM: i32 = 5;
const FILE_SERVICE: i32 = 6;
const FILE_SYNTAX: i32 = 12;
const MEMBER: i32 = 2;

const INTRODUCTION: &str = "# The interfaces\n\n\
    Made by `make docs` from the comments in `proto/proto/image_manager/v1/`; change those, not this page. The\n\
    operator port serves the text about the control service through gRPC reflection, too:\n\n\
    ```\n\
    grpcurl -plaintext localhost:8080 describe image_manager.v1.ImageManager\n\
    ```\n";

#[test]
fn protocol_md_is_up_to_date() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/protocol.md");
    let made = document();
    if std::env::var_os("IMAGE_MANAGER_WRITE_DOCS").is_some() {
        std::fs::write(&path, &made).unwrap();
    }
    let found = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(found == made, "docs/protocol.md is not what the .proto files say: run `make docs`");
}

#[test]
fn everything_has_a_comment() {
    let made = document();
    let bare: Vec<&str> =
        made.lines().filter(|line| line.starts_with("| `") && line.ends_with("|  |")).collect();
    assert!(bare.is_empty(), "without a comment: {bare:#?}");
    assert!(made.contains("TriggerBuild") && made.contains("ReportAccepted"), "{made}");
}

fn document() -> String {
    let set = FileDescriptorSet::decode(FILE_DESCRIPTOR_SET).unwrap();
    let mut page = INTRODUCTION.to_owned();
    // What people use comes first, what the agent speaks second.
    for name in ["image_manager/v1/control.proto", "image_manager/v1/agent.proto"] {
        let file = set.file.iter().find(|file| file.name() == name).unwrap();
        File { file, comments: comments(file) }.write(&mut page);
    }
    page
}

fn comments(file: &FileDescriptorProto) -> HashMap<Vec<i32>, String> {
    let locations = &file.source_code_info.as_ref().unwrap().location;
    let mut found = HashMap::new();
    for location in locations {
        // A comment above the file's first line is detached from everything.
        let detached = location.leading_detached_comments.join("\n");
        let text = location.leading_comments().to_owned()
            + if location.path == [FILE_SYNTAX] { &detached } else { "" };
        if !text.trim().is_empty() {
            found.insert(location.path.clone(), text);
        }
    }
    found
}

struct File<'a> {
    file: &'a FileDescriptorProto,
    comments: HashMap<Vec<i32>, String>,
}

impl File<'_> {
    fn write(&self, page: &mut String) {
        write!(page, "\n## {}\n", self.file.name()).unwrap();
        let about = self.comments.get(&vec![FILE_SYNTAX]).map(String::as_str).unwrap_or_default();
        let drawn: Vec<&str> = about.lines().map(|line| line.strip_prefix(' ').unwrap_or(line)).collect();
        write!(page, "\n```text\n{}\n```\n", drawn.join("\n").trim_matches('\n')).unwrap();
        for (number, service) in (0..).zip(&self.file.service) {
            self.service(page, service, &[FILE_SERVICE, number]);
        }
        for (number, message) in (0..).zip(&self.file.message_type) {
            self.message(page, message, &[FILE_MESSAGE, number]);
        }
        for (number, choice) in (0..).zip(&self.file.enum_type) {
            self.choice(page, choice, &[FILE_ENUM, number]);
        }
    }

    /// A comment in one line, for a cell of a table.
    fn line(&self, path: &[i32]) -> String {
        let text = self.comments.get(path).map(String::as_str).unwrap_or_default();
        text.split_whitespace().collect::<Vec<_>>().join(" ").replace('|', "\\|")
    }

    fn heading(&self, page: &mut String, kind: &str, name: &str, path: &[i32]) {
        write!(page, "\n### {kind} `{name}`\n\n{}\n", self.line(path)).unwrap();
    }

    fn service(&self, page: &mut String, service: &ServiceDescriptorProto, path: &[i32]) {
        self.heading(page, "Service", service.name(), path);
        page.push_str("\n| method | takes | returns | |\n| --- | --- | --- | --- |\n");
        for (number, method) in (0..).zip(&service.method) {
            let stream = |streams: bool, name: &str| {
                format!("{}`{}`", if streams { "stream of " } else { "" }, short(name))
            };
            let takes = stream(method.client_streaming(), method.input_type());
            let returns = stream(method.server_streaming(), method.output_type());
            let about = self.line(&[path, &[MEMBER, number]].concat());
            writeln!(page, "| `{}` | {takes} | {returns} | {about} |", method.name()).unwrap();
        }
    }

    fn message(&self, page: &mut String, message: &DescriptorProto, path: &[i32]) {
        self.heading(page, "Message", message.name(), path);
        if message.field.is_empty() {
            return;
        }
        page.push_str("\n| field | type | number | |\n| --- | --- | --- | --- |\n");
        for (number, field) in (0..).zip(&message.field) {
            let about = self.line(&[path, &[MEMBER, number]].concat());
            writeln!(page, "| `{}` | {} | {} | {about} |", field.name(), kind(field), field.number())
                .unwrap();
        }
    }

    fn choice(&self, page: &mut String, choice: &EnumDescriptorProto, path: &[i32]) {
        self.heading(page, "Enumeration", choice.name(), path);
        page.push_str("\n| value | number | |\n| --- | --- | --- |\n");
        for (number, value) in (0..).zip(&choice.value) {
            let about = self.line(&[path, &[MEMBER, number]].concat());
            writeln!(page, "| `{}` | {} | {about} |", value.name(), value.number()).unwrap();
        }
    }
}

/// The name without our own package.
fn short(name: &str) -> &str {
    name.strip_prefix(".image_manager.v1.").unwrap_or(name.trim_start_matches('.'))
}

fn kind(field: &FieldDescriptorProto) -> String {
    let plain = match field.r#type() {
        Type::Message | Type::Enum => format!("`{}`", short(field.type_name())),
        Type::String => "string".to_owned(),
        Type::Bool => "bool".to_owned(),
        Type::Double => "double".to_owned(),
        Type::Uint32 => "uint32".to_owned(),
        Type::Uint64 => "uint64".to_owned(),
        Type::Int32 => "int32".to_owned(),
        Type::Int64 => "int64".to_owned(),
        other => other.as_str_name().trim_start_matches("TYPE_").to_lowercase(),
    };
    if field.label() == Label::Repeated { format!("list of {plain}") } else { plain }
}
