//! Text to nodes.

use super::functions::{FUNCTIONS, UNSUPPORTED};
use super::{Item, TemplateError};
use crate::config_error::nearest_name;

/// Deepest nesting of blocks and parentheses.
const DEPTH_MAX: usize = 32;

/// Commands joined by `|`; the value of each is the last argument of the next.
pub(super) type Pipeline = Vec<Command>;

#[derive(Debug, Clone, PartialEq)]
pub(super) struct Command {
    pub(super) head: Term,
    pub(super) arguments: Vec<Term>,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Term {
    Value(Item),
    /// `.`, `.Labels.job`
    Dot(Vec<String>),
    /// `$labels.job`
    Variable(String, Vec<String>),
    Group(Pipeline),
    Call(String),
}

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Node {
    Text(String),
    Output(Pipeline),
    Set { name: String, pipeline: Pipeline, declare: bool },
    If { branches: Vec<(Pipeline, Vec<Node>)>, otherwise: Vec<Node> },
    With { pipeline: Pipeline, body: Vec<Node>, otherwise: Vec<Node> },
    Range { key: Option<String>, value: Option<String>, pipeline: Pipeline, body: Vec<Node>, otherwise: Vec<Node> },
}

#[derive(Debug, Clone, PartialEq)]
enum Token {
    Text(String),
    Number(Item),
    Word(String),
    Dot(Vec<String>),
    Variable(String, Vec<String>),
    Pipe,
    Open,
    Close,
    Declare,
    Assign,
    Comma,
}

/// A piece of the source: text, or the tokens of an action.
enum Piece {
    Text(String),
    Action(Vec<Token>, usize),
}

pub(super) fn parse(source: &str) -> Result<Vec<Node>, TemplateError> {
    let pieces = split(source)?;
    let mut parser = Parser { pieces: pieces.into_iter().peekable(), variables: Vec::new(), depth: 0 };
    let (nodes, end) = parser.block()?;
    match end {
        None => Ok(nodes),
        Some((word, _, at)) => Err(error(at, format!("unexpected {{{{ {word} }}}}: there is no open block"))),
    }
}

fn error(at: usize, message: impl Into<String>) -> TemplateError {
    TemplateError { message: message.into(), at, unsupported: false }
}

fn split(source: &str) -> Result<Vec<Piece>, TemplateError> {
    let mut pieces = Vec::new();
    let mut at = 0;
    let mut trim_next = false;
    loop {
        let open = source[at..].find("{{").map(|i| at + i);
        let mut text = &source[at..open.unwrap_or(source.len())];
        if trim_next {
            text = text.trim_start();
        }
        let Some(open) = open else {
            if !text.is_empty() {
                pieces.push(Piece::Text(text.to_owned()));
            }
            return Ok(pieces);
        };
        let mut inner = open + 2;
        // `{{-` trims only when white space follows: `{{-3}}` is a number.
        if source[inner..].starts_with('-') && source[inner + 1..].starts_with(char::is_whitespace) {
            text = text.trim_end();
            inner += 1;
        }
        if !text.is_empty() {
            pieces.push(Piece::Text(text.to_owned()));
        }
        let body = source[inner..].trim_start();
        let (tokens, close) = if body.starts_with("/*") {
            let start = source.len() - body.len();
            let end = source[start..].find("*/").ok_or_else(|| error(open, "unclosed comment"))? + start + 2;
            (None, end + (source[end..].len() - source[end..].trim_start().len()))
        } else {
            let (tokens, close) = tokens(source, inner, open)?;
            (Some(tokens), close)
        };
        let rest = &source[close..];
        (at, trim_next) = if rest.starts_with("-}}") {
            (close + 3, true)
        } else if rest.starts_with("}}") {
            (close + 2, false)
        } else {
            return Err(error(open, "unclosed action: `}}` is missing"));
        };
        if let Some(tokens) = tokens {
            pieces.push(Piece::Action(tokens, open));
        }
    }
}

/// Tokens from `at` up to the closing `}}` or ` -}}`, and where that stands.
fn tokens(source: &str, mut at: usize, open: usize) -> Result<(Vec<Token>, usize), TemplateError> {
    let mut tokens = Vec::new();
    loop {
        let rest = &source[at..];
        let Some(c) = rest.chars().next() else {
            return Err(error(open, "unclosed action: `}}` is missing"));
        };
        if rest.starts_with("}}") {
            return Ok((tokens, at));
        }
        if c.is_whitespace() {
            let space = rest.len() - rest.trim_start().len();
            at += space;
            if source[at..].starts_with("-}}") {
                return Ok((tokens, at));
            }
            continue;
        }
        let (token, len) = match c {
            '|' => (Token::Pipe, 1),
            '(' => (Token::Open, 1),
            ')' => (Token::Close, 1),
            ',' => (Token::Comma, 1),
            ':' if rest.starts_with(":=") => (Token::Declare, 2),
            '=' => (Token::Assign, 1),
            '"' => quoted(rest, at)?,
            '`' => {
                let end = rest[1..].find('`').ok_or_else(|| error(at, "unterminated raw string"))?;
                (Token::Text(rest[1..=end].to_owned()), end + 2)
            }
            '.' if !rest[1..].starts_with(|c: char| c.is_ascii_digit()) => {
                let (path, len) = path(rest);
                (Token::Dot(path), len.max(1))
            }
            '$' => {
                let name = word(&rest[1..]);
                let (path, len) = path(&rest[1 + name.len()..]);
                (Token::Variable(name.to_owned(), path), 1 + name.len() + len)
            }
            _ if c.is_ascii_digit() || matches!(c, '-' | '+' | '.') => number(rest, at)?,
            _ if c.is_alphabetic() || c == '_' => {
                let name = word(rest);
                (Token::Word(name.to_owned()), name.len())
            }
            _ => return Err(error(at, format!("unexpected {c:?} in an action"))),
        };
        tokens.push(token);
        at += len;
    }
}

fn word(text: &str) -> &str {
    let end = text.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(text.len());
    &text[..end]
}

/// `.a.b` as its names and length.
fn path(text: &str) -> (Vec<String>, usize) {
    let mut names = Vec::new();
    let mut len = 0;
    while text[len..].starts_with('.') {
        let name = word(&text[len + 1..]);
        if name.is_empty() {
            break;
        }
        names.push(name.to_owned());
        len += 1 + name.len();
    }
    (names, len)
}

fn number(rest: &str, at: usize) -> Result<(Token, usize), TemplateError> {
    let len = rest
        .char_indices()
        .take_while(|(i, c)| {
            c.is_ascii_alphanumeric() || *c == '.' || *c == '_' || (matches!(c, '-' | '+') && (*i == 0 || rest[..*i].ends_with(['e', 'E'])))
        })
        .count();
    let text = &rest[..len];
    let item = text.parse::<i64>().map(Item::Int).or_else(|_| text.parse::<f64>().map(Item::Float));
    item.map(|item| (Token::Number(item), len)).map_err(|_| error(at, format!("`{text}` is no number")))
}

fn quoted(rest: &str, at: usize) -> Result<(Token, usize), TemplateError> {
    let mut text = String::new();
    let mut chars = rest.char_indices().skip(1);
    while let Some((i, c)) = chars.next() {
        match c {
            '"' => return Ok((Token::Text(text), i + 1)),
            '\n' => break,
            '\\' => match chars.next().map(|(_, c)| c) {
                Some('n') => text.push('\n'),
                Some('t') => text.push('\t'),
                Some('r') => text.push('\r'),
                Some(c @ ('"' | '\\' | '\'')) => text.push(c),
                Some(c) => return Err(error(at + i, format!("unknown escape `\\{c}`"))),
                None => break,
            },
            c => text.push(c),
        }
    }
    Err(error(at, "unterminated quoted string"))
}

struct Parser {
    pieces: std::iter::Peekable<std::vec::IntoIter<Piece>>,
    variables: Vec<String>,
    depth: usize,
}

/// What closed a block: `else` or `end`, with what follows the word, and where it stood.
type End = Option<(String, Vec<Token>, usize)>;

impl Parser {
    fn block(&mut self) -> Result<(Vec<Node>, End), TemplateError> {
        let mut nodes = Vec::new();
        while let Some(piece) = self.pieces.next() {
            let (tokens, at) = match piece {
                Piece::Text(text) => {
                    nodes.push(Node::Text(text));
                    continue;
                }
                Piece::Action(tokens, at) => (tokens, at),
            };
            match tokens.first() {
                None => return Err(error(at, "empty action")),
                Some(Token::Word(word)) if word == "end" || word == "else" => {
                    return Ok((nodes, Some((word.clone(), tokens[1..].to_vec(), at))));
                }
                Some(Token::Word(word)) if matches!(word.as_str(), "if" | "with" | "range") => {
                    self.depth += 1;
                    if self.depth > DEPTH_MAX {
                        return Err(error(at, format!("blocks are nested deeper than {DEPTH_MAX}")));
                    }
                    let before = self.variables.len();
                    let node = self.control(word, &tokens[1..], at)?;
                    self.variables.truncate(before);
                    self.depth -= 1;
                    nodes.push(node);
                }
                Some(Token::Word(word)) if matches!(word.as_str(), "define" | "template" | "block" | "break" | "continue") => {
                    return Err(error(at, format!("{{{{ {word} }}}} is not supported")));
                }
                Some(Token::Variable(name, path)) if path.is_empty() && matches!(tokens.get(1), Some(Token::Declare | Token::Assign)) => {
                    let declare = tokens[1] == Token::Declare;
                    let pipeline = self.pipeline(&tokens[2..], at)?;
                    if declare {
                        self.variables.push(name.clone());
                    } else {
                        self.known(name, at)?;
                    }
                    nodes.push(Node::Set { name: name.clone(), pipeline, declare });
                }
                Some(_) => nodes.push(Node::Output(self.pipeline(&tokens, at)?)),
            }
        }
        Ok((nodes, None))
    }

    fn control(&mut self, word: &str, tokens: &[Token], at: usize) -> Result<Node, TemplateError> {
        let unclosed = || error(at, format!("{{{{ {word} }}}} without {{{{ end }}}}"));
        if word == "range" {
            let (key, value, rest) = match tokens {
                [Token::Variable(k, _), Token::Comma, Token::Variable(v, _), Token::Declare, rest @ ..] => (Some(k.clone()), Some(v.clone()), rest),
                [Token::Variable(v, _), Token::Declare, rest @ ..] => (None, Some(v.clone()), rest),
                rest => (None, None, rest),
            };
            let pipeline = self.pipeline(rest, at)?;
            self.variables.extend(key.iter().chain(&value).cloned());
            let (body, end) = self.block()?;
            let otherwise = self.otherwise(end.ok_or_else(unclosed)?)?;
            return Ok(Node::Range { key, value, pipeline, body, otherwise });
        }
        // `{{ with $x := pipeline }}` and `{{ if $x := pipeline }}` are not used in rules and not taken.
        let pipeline = self.pipeline(tokens, at)?;
        let (body, end) = self.block()?;
        let end = end.ok_or_else(unclosed)?;
        if word == "with" {
            let otherwise = self.otherwise(end)?;
            return Ok(Node::With { pipeline, body, otherwise });
        }
        let mut branches = vec![(pipeline, body)];
        let mut end = end;
        loop {
            match end {
                (w, rest, else_at) if w == "else" && matches!(rest.first(), Some(Token::Word(i)) if i == "if") => {
                    let condition = self.pipeline(&rest[1..], else_at)?;
                    let (body, next) = self.block()?;
                    branches.push((condition, body));
                    end = next.ok_or_else(unclosed)?;
                }
                end => return Ok(Node::If { branches, otherwise: self.otherwise(end)? }),
            }
        }
    }

    fn otherwise(&mut self, end: (String, Vec<Token>, usize)) -> Result<Vec<Node>, TemplateError> {
        let (word, rest, at) = end;
        if !rest.is_empty() {
            return Err(error(at, format!("unexpected words after {word}")));
        }
        if word == "end" {
            return Ok(Vec::new());
        }
        match self.block()? {
            (nodes, Some((word, rest, _))) if word == "end" && rest.is_empty() => Ok(nodes),
            (_, Some((word, _, at))) => Err(error(at, format!("unexpected {{{{ {word} }}}}"))),
            (_, None) => Err(error(at, "{{ else }} without {{ end }}")),
        }
    }

    fn known(&self, name: &str, at: usize) -> Result<(), TemplateError> {
        let built_in = matches!(name, "" | "labels" | "value" | "externalLabels" | "externalURL");
        if built_in || self.variables.iter().any(|v| v == name) {
            return Ok(());
        }
        Err(error(at, format!("undefined variable \"${name}\"")))
    }

    fn pipeline(&self, tokens: &[Token], at: usize) -> Result<Pipeline, TemplateError> {
        let mut position = 0;
        let pipeline = self.pipeline_at(tokens, &mut position, at, 0)?;
        if position < tokens.len() {
            return Err(error(at, "unexpected `)` or punctuation in an action"));
        }
        Ok(pipeline)
    }

    fn pipeline_at(&self, tokens: &[Token], position: &mut usize, at: usize, depth: usize) -> Result<Pipeline, TemplateError> {
        if depth > DEPTH_MAX {
            return Err(error(at, format!("parentheses are nested deeper than {DEPTH_MAX}")));
        }
        let mut pipeline = Vec::new();
        loop {
            let mut terms = Vec::new();
            while let Some(token) = tokens.get(*position) {
                let term = match token {
                    Token::Text(text) => Term::Value(Item::Text(text.clone())),
                    Token::Number(item) => Term::Value(item.clone()),
                    Token::Dot(path) => Term::Dot(path.clone()),
                    Token::Variable(name, path) => {
                        self.known(name, at)?;
                        Term::Variable(name.clone(), path.clone())
                    }
                    Token::Word(name) => word_term(name, at)?,
                    Token::Open => {
                        *position += 1;
                        let inner = self.pipeline_at(tokens, position, at, depth + 1)?;
                        if tokens.get(*position) != Some(&Token::Close) {
                            return Err(error(at, "`)` is missing"));
                        }
                        Term::Group(inner)
                    }
                    _ => break,
                };
                *position += 1;
                terms.push(term);
            }
            let mut terms = terms.into_iter();
            let head = terms.next().ok_or_else(|| error(at, "empty pipeline: a value or a function was expected"))?;
            let arguments: Vec<Term> = terms.collect();
            if !matches!(head, Term::Call(_)) && (!arguments.is_empty() || !pipeline.is_empty()) {
                return Err(error(at, "a value cannot take arguments: a function was expected"));
            }
            pipeline.push(Command { head, arguments });
            match tokens.get(*position) {
                Some(Token::Pipe) => *position += 1,
                _ => return Ok(pipeline),
            }
        }
    }
}

fn word_term(name: &str, at: usize) -> Result<Term, TemplateError> {
    Ok(match name {
        "true" => Term::Value(Item::Bool(true)),
        "false" => Term::Value(Item::Bool(false)),
        "nil" => Term::Value(Item::Nil),
        _ if FUNCTIONS.contains(&name) => Term::Call(name.to_owned()),
        _ if UNSUPPORTED.contains(&name) => {
            let message = format!("function \"{name}\" is not supported: a template cannot run queries; use labels and the value");
            return Err(TemplateError { message, at, unsupported: true });
        }
        _ => {
            let near = nearest_name(name, FUNCTIONS.iter().copied()).map(|n| format!(" (did you mean \"{n}\"?)")).unwrap_or_default();
            return Err(error(at, format!("function \"{name}\" not defined{near}")));
        }
    })
}
