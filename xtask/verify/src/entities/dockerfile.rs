//! Dockerfiles, as far as they describe an image before it is built.

use std::collections::BTreeMap;

use xtask::model::object::StringMap;

/// Its stages in order, each with its instructions.
#[derive(Clone, Debug, PartialEq)]
pub struct Dockerfile {
    /// The ARGs before the first FROM.
    pub arguments: Vec<Instruction>,
    pub stages: Vec<Stage>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Stage {
    /// What stands after AS.
    pub name: Option<String>,
    /// What FROM names, before variables are filled in: an image, or an earlier stage.
    pub base: String,
    pub line: usize,
    pub instructions: Vec<Instruction>,
}

/// One instruction, its continuations joined by blanks.
#[derive(Clone, Debug, PartialEq)]
pub struct Instruction {
    /// Of its first line, counted from 1.
    pub line: usize,
    /// In capitals.
    pub keyword: String,
    pub text: String,
}

const KEYWORDS: [&str; 18] = [
    "ADD",
    "ARG",
    "CMD",
    "COPY",
    "ENTRYPOINT",
    "ENV",
    "EXPOSE",
    "FROM",
    "HEALTHCHECK",
    "LABEL",
    "MAINTAINER",
    "ONBUILD",
    "RUN",
    "SHELL",
    "STOPSIGNAL",
    "USER",
    "VOLUME",
    "WORKDIR",
];

impl Dockerfile {
    /// Errors are all mistakes of the syntax, each as `line N: what is wrong`.
    pub fn parse(text: &str) -> Result<Dockerfile, Vec<String>> {
        let mut mistakes = Vec::new();
        let mut file = Dockerfile { arguments: Vec::new(), stages: Vec::new() };
        for instruction in instructions(text, &mut mistakes) {
            let line = instruction.line;
            match (instruction.keyword.as_str(), file.stages.last_mut()) {
                (keyword, _) if !KEYWORDS.contains(&keyword) => {
                    mistakes.push(format!("line {line}: {keyword} is no instruction"));
                }
                (_, _) if instruction.text.is_empty() => {
                    mistakes.push(format!("line {line}: {} says nothing", instruction.keyword));
                }
                ("FROM", _) => match stage(&instruction) {
                    Some(stage) if stage.name.is_some() && file.stages.iter().any(|other| other.name == stage.name) => {
                        mistakes
                            .push(format!("line {line}: two stages have the name {}", stage.name.unwrap_or_default()));
                    }
                    Some(stage) => file.stages.push(stage),
                    None => mistakes.push(format!("line {line}: FROM is not followed by IMAGE or IMAGE AS NAME")),
                },
                (_, Some(stage)) => stage.instructions.push(instruction),
                ("ARG", None) => file.arguments.push(instruction),
                (keyword, None) => mistakes.push(format!("line {line}: {keyword} stands before the first FROM")),
            }
        }
        if file.stages.is_empty() && mistakes.is_empty() {
            mistakes.push("line 1: there is no FROM".to_string());
        }
        if mistakes.is_empty() { Ok(file) } else { Err(mistakes) }
    }

    /// The images that stages start from, with variables filled in: `scratch` and earlier stages aren't among them.
    pub fn bases(&self, build_args: &StringMap) -> Vec<String> {
        let globals = self.globals(build_args);
        let bases = self.stages.iter().enumerate().filter(|(index, _)| self.parent(*index).is_none());
        let mut found: Vec<String> = bases.map(|(_, stage)| expand(&stage.base, &globals)).collect();
        found.retain(|base| base != "scratch");
        found.dedup();
        found
    }

    /// The instructions that make the last stage, those of the stages it starts from first, with variables filled in.
    /// RUN, COPY and ADD are as they stand: a shell fills them in.
    pub fn made_by(&self, build_args: &StringMap) -> Vec<Instruction> {
        let mut chain = Vec::new();
        let mut next = self.stages.len().checked_sub(1);
        while let Some(index) = next {
            chain.push(&self.stages[index]);
            next = self.parent(index);
        }
        let globals = self.globals(build_args);
        let mut known = StringMap::new();
        let mut made = Vec::new();
        for instruction in chain.iter().rev().flat_map(|stage| &stage.instructions) {
            let text = match instruction.keyword.as_str() {
                "RUN" | "COPY" | "ADD" | "CMD" | "ENTRYPOINT" | "HEALTHCHECK" | "ONBUILD" | "SHELL" => {
                    instruction.text.clone()
                }
                _ => expand(&instruction.text, &known),
            };
            match instruction.keyword.as_str() {
                "ENV" => known.extend(pairs(&text)),
                "ARG" => known.extend(argument_values(&text, build_args, &globals)),
                _ => {}
            }
            made.push(Instruction { text, ..instruction.clone() });
        }
        made
    }

    /// The names and the defaults of the arguments that the last stage takes.
    pub fn taken_arguments(&self) -> BTreeMap<String, Option<String>> {
        let globals: BTreeMap<String, Option<String>> =
            self.arguments.iter().flat_map(|arg| arguments(&arg.text)).collect();
        let made = self.made_by(&StringMap::new());
        let taken = made.iter().filter(|instruction| instruction.keyword == "ARG").flat_map(|arg| arguments(&arg.text));
        taken
            .map(|(name, default)| {
                let default = default.or_else(|| globals.get(&name).cloned().flatten());
                (name, default)
            })
            .collect()
    }

    fn globals(&self, build_args: &StringMap) -> StringMap {
        let mut known = StringMap::new();
        for argument in &self.arguments {
            let text = expand(&argument.text, &known);
            known.extend(argument_values(&text, build_args, &StringMap::new()));
        }
        known
    }

    /// The earlier stage that this one starts from.
    fn parent(&self, index: usize) -> Option<usize> {
        let base = &self.stages[index].base;
        self.stages[..index].iter().position(|stage| stage.name.as_deref() == Some(&base.to_lowercase()))
    }
}

/// The words of an instruction; quotes hold together and are taken off.
pub fn words(text: &str) -> Vec<String> {
    let (mut words, mut word, mut open, mut quote) = (Vec::new(), String::new(), false, None);
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match (quote, c) {
            (None, '"' | '\'') => (quote, open) = (Some(c), true),
            (Some(q), _) if c == q => quote = None,
            (None | Some('"'), '\\') => {
                word.extend(chars.next());
                open = true;
            }
            (None, _) if c.is_whitespace() => {
                if open {
                    words.push(std::mem::take(&mut word));
                }
                open = false;
            }
            _ => {
                word.push(c);
                open = true;
            }
        }
    }
    if open {
        words.push(word);
    }
    words
}

/// The pairs of an ENV or LABEL: `A=1 B="2 3"`, or the old `A 1`.
pub fn pairs(text: &str) -> Vec<(String, String)> {
    let words = words(text);
    match words.first() {
        Some(first) if !first.contains('=') => vec![(first.clone(), words[1..].join(" "))],
        _ => {
            words.iter().filter_map(|word| word.split_once('=')).map(|(k, v)| (k.to_string(), v.to_string())).collect()
        }
    }
}

/// The words of a command: those of its exec form, or a shell's.
pub fn command(text: &str) -> Vec<String> {
    let exec = text.starts_with('[').then(|| serde_json::from_str::<Vec<String>>(text).ok()).flatten();
    exec.unwrap_or_else(|| ["/bin/sh", "-c", text].map(str::to_string).to_vec())
}

/// `$NAME`, `${NAME}`, `${NAME:-OTHERWISE}` and `${NAME:+INSTEAD}` filled in, apart from single quotes and `\$`.
pub fn expand(text: &str, known: &StringMap) -> String {
    let mut expanded = String::new();
    let mut single = false;
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        let after = &rest[c.len_utf8()..];
        if c == '\'' {
            single = !single;
        }
        if c == '\\' {
            let next = after.chars().next().map_or(0, char::len_utf8);
            // An escaped dollar sign is one; what else is escaped stays so for whoever splits the words.
            expanded.push_str(if after.starts_with('$') { &after[..next] } else { &rest[..1 + next] });
            rest = &after[next..];
            continue;
        }
        let name_end = |text: &str| text.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(text.len());
        let variable = (c == '$' && !single).then_some(after).and_then(|after| match after.strip_prefix('{') {
            Some(inner) => {
                let close = inner.find('}')?;
                Some((inner[..close].to_string(), &inner[close + 1..]))
            }
            None => Some((after[..name_end(after)].to_string(), &after[name_end(after)..]))
                .filter(|(name, _)| !name.is_empty()),
        });
        match variable {
            Some((inner, behind)) => {
                let (name, modifier) = inner.split_at(name_end(&inner));
                let value = known.get(name).filter(|value| !value.is_empty());
                match (value, modifier.get(..2)) {
                    (None, Some(":-")) => expanded.push_str(&expand(&modifier[2..], known)),
                    (Some(_), Some(":+")) => expanded.push_str(&expand(&modifier[2..], known)),
                    (Some(value), _) => expanded.push_str(value),
                    (None, _) => {}
                }
                rest = behind;
            }
            None => {
                expanded.push(c);
                rest = after;
            }
        }
    }
    expanded
}

/// Joins continued lines, leaves out comments, and takes here-documents along with what they belong to.
fn instructions(text: &str, mistakes: &mut Vec<String>) -> Vec<Instruction> {
    let escape = escape_character(text);
    let mut lines = text.lines().enumerate();
    let mut found = Vec::new();
    while let Some((index, first)) = lines.next() {
        if is_comment(first) || first.trim().is_empty() {
            continue;
        }
        let mut joined = String::new();
        let mut line = Some(first);
        while let Some(part) = line {
            let body = part.trim();
            let continued = body.strip_suffix(escape);
            if !joined.is_empty() {
                joined.push(' ');
            }
            joined.push_str(continued.unwrap_or(body).trim());
            line = match continued {
                // Comments and empty lines don't end what is continued.
                Some(_) => {
                    lines.by_ref().map(|(_, line)| line).find(|line| !is_comment(line) && !line.trim().is_empty())
                }
                None => None,
            };
        }
        let (keyword, rest) = joined.split_once(char::is_whitespace).unwrap_or((&joined, ""));
        let keyword = keyword.to_uppercase();
        let mut text = rest.trim().to_string();
        if matches!(keyword.as_str(), "RUN" | "COPY" | "ADD") {
            for (mark, tabs) in here_documents(&text) {
                let ends = |line: &str| if tabs { line.trim_start_matches('\t') == mark } else { line == mark };
                let mut closed = false;
                for (_, line) in lines.by_ref() {
                    if ends(line) {
                        closed = true;
                        break;
                    }
                    text.push('\n');
                    text.push_str(line);
                }
                if !closed {
                    mistakes.push(format!("line {}: the here-document {mark} has no end", index + 1));
                }
            }
        }
        found.push(Instruction { line: index + 1, keyword, text });
    }
    found
}

/// The directive `# escape=` counts only above everything else.
fn escape_character(text: &str) -> char {
    let directives = text.lines().map_while(|line| line.trim().strip_prefix('#')?.split_once('='));
    let escape =
        directives.filter(|(name, _)| name.trim().eq_ignore_ascii_case("escape")).map(|(_, value)| value.trim());
    if escape.last() == Some("`") { '`' } else { '\\' }
}

fn is_comment(line: &str) -> bool {
    line.trim_start().starts_with('#')
}

/// The marks at which the here-documents of an instruction end, and whether tabs before them don't count.
fn here_documents(text: &str) -> Vec<(String, bool)> {
    words(text)
        .iter()
        .filter_map(|word| word.trim_start_matches(|c: char| c.is_ascii_digit()).strip_prefix("<<"))
        .map(|mark| (mark.trim_start_matches('-').to_string(), mark.starts_with('-')))
        .filter(|(mark, _)| mark.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_'))
        .collect()
}

fn stage(from: &Instruction) -> Option<Stage> {
    let words: Vec<&str> = from.text.split_whitespace().filter(|word| !word.starts_with("--")).collect();
    let name = match words[..] {
        [_] => None,
        [_, between, name] if between.eq_ignore_ascii_case("as") => Some(name.to_lowercase()),
        _ => return None,
    };
    Some(Stage { name, base: words[0].to_string(), line: from.line, instructions: Vec::new() })
}

/// The arguments that an ARG names, with their defaults.
fn arguments(text: &str) -> Vec<(String, Option<String>)> {
    let split = |word: &String| match word.split_once('=') {
        Some((name, default)) => (name.to_string(), Some(default.to_string())),
        None => (word.clone(), None),
    };
    words(text).iter().map(split).collect()
}

fn argument_values(text: &str, build_args: &StringMap, globals: &StringMap) -> StringMap {
    let value = |(name, default): (String, Option<String>)| {
        let value = build_args.get(&name).cloned().or(default).or_else(|| globals.get(&name).cloned())?;
        Some((name, value))
    };
    arguments(text).into_iter().filter_map(value).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const NGINX: &str = r#"# syntax=docker/dockerfile:1
ARG BASE_IMAGE=nginx:alpine

FROM node:20-slim AS builder
ARG VITE_API_BASE_URL=http://todo-chatbot-backend:8000
WORKDIR /build
COPY package.json ./
RUN npm ci \
    # a comment within
    && npm run build \

    && ls

FROM ${BASE_IMAGE} AS base
ARG PORT=80
ENV PORT=${PORT} A="x y" B='$PORT'
USER nginx

from base as runtime
WORKDIR /usr/share/nginx/html
EXPOSE $PORT
HEALTHCHECK CMD curl -f http://localhost:${PORT}/ || exit 1
RUN <<END
FROM nothing
END
CMD ["nginx", "-g", "daemon off;"]
"#;

    fn args(pairs: &[(&str, &str)]) -> StringMap {
        pairs.iter().map(|(k, v)| (k.to_string(), v.to_string())).collect()
    }

    fn text_of(made: &[Instruction], keyword: &str) -> String {
        made.iter().rfind(|instruction| instruction.keyword == keyword).unwrap().text.clone()
    }

    #[test]
    fn stages_have_their_lines_and_names() {
        let file = Dockerfile::parse(NGINX).unwrap();
        let stages: Vec<_> = file.stages.iter().map(|stage| (stage.line, stage.name.as_deref().unwrap())).collect();
        assert_eq!(stages, [(4, "builder"), (14, "base"), (19, "runtime")]);
        assert_eq!(file.stages[0].instructions[3].text, "npm ci && npm run build && ls");
        assert_eq!(file.stages[0].instructions[3].line, 8);
        assert_eq!(file.bases(&StringMap::new()), ["node:20-slim", "nginx:alpine"]);
        assert_eq!(file.bases(&args(&[("BASE_IMAGE", "debian")])), ["node:20-slim", "debian"]);
    }

    #[test]
    fn the_last_stage_is_made_by_those_it_starts_from() {
        let made = Dockerfile::parse(NGINX).unwrap().made_by(&args(&[("PORT", "81")]));
        assert_eq!(text_of(&made, "USER"), "nginx");
        assert_eq!(text_of(&made, "EXPOSE"), "81");
        assert_eq!(
            pairs(&text_of(&made, "ENV")),
            [("PORT", "81"), ("A", "x y"), ("B", "$PORT")].map(|(k, v)| (k.into(), v.into()))
        );
        assert_eq!(command(&text_of(&made, "CMD")), ["nginx", "-g", "daemon off;"]);
        assert!(text_of(&made, "RUN").ends_with("\nFROM nothing"));
        assert!(!made.iter().any(|instruction| instruction.text == "/build"));
    }

    #[test]
    fn an_argument_before_the_first_stage_counts_where_it_is_named_again() {
        let file = Dockerfile::parse("ARG V=1\nARG W=2\nFROM a:$V\nARG V\nLABEL v=$V w=$W\n").unwrap();
        assert_eq!(text_of(&file.made_by(&StringMap::new()), "LABEL"), "v=1 w=");
        assert_eq!(file.taken_arguments(), BTreeMap::from([("V".to_string(), Some("1".to_string()))]));
    }

    #[test]
    fn all_mistakes_have_their_lines() {
        assert_eq!(
            Dockerfile::parse("USER a\nFROM\nFROM a AS x\nFROM b AS X\nFROM a b\nRUNN x\nRUN cat <<EOF\n").unwrap_err(),
            [
                "line 7: the here-document EOF has no end",
                "line 1: USER stands before the first FROM",
                "line 2: FROM says nothing",
                "line 4: two stages have the name x",
                "line 5: FROM is not followed by IMAGE or IMAGE AS NAME",
                "line 6: RUNN is no instruction",
            ]
        );
        assert_eq!(Dockerfile::parse("# nothing\n").unwrap_err(), ["line 1: there is no FROM"]);
    }

    #[test]
    fn variables_are_filled_in() {
        let known = args(&[("A", "1"), ("E", "")]);
        for (text, filled) in [
            ("$A/${A}", "1/1"),
            ("${B:-x}${A:-x}${E:-y}", "x1y"),
            ("${A:+y}${B:+y}", "y"),
            ("'$A' \\$A \"$A\"", "'$A' $A \"1\""),
            ("$B", ""),
            ("a$ ${A", "a$ ${A"),
        ] {
            assert_eq!(expand(text, &known), filled, "{text}");
        }
    }

    #[test]
    fn an_old_pair_and_another_escape_are_understood() {
        assert_eq!(pairs("A 1 2"), [("A".to_string(), "1 2".to_string())]);
        let file = Dockerfile::parse("# escape=`\nFROM a\nRUN a `\n  b\\\n").unwrap();
        assert_eq!(file.stages[0].instructions[0].text, "a b\\");
    }
}
