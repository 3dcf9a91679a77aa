//! Text to nodes.

use super::functions::{FUNCTIONS, TemplateFunction};
use super::value::Value;

/// Deepest nesting of blocks and parentheses.
const DEPTH_MAX: usize = 32;

/// Commands joined by `|`; the value of each is the last argument of the next.
pub(super) type Pipeline = Vec<Command>;

#[derive(Debug, Clone)]
pub(super) struct Command {
    pub(super) head: Term,
    pub(super) arguments: Vec<Term>,
}

#[derive(Debug, Clone)]
pub(super) enum Term {
    Value(Value),
    Dot(Vec<String>),
    Variable(String, Vec<String>),
    Group(Pipeline, Vec<String>),
    Call(&'static TemplateFunction),
}

#[derive(Debug, Clone)]
pub(super) enum Node {
    Text(String),
    /// `{{.name}}`, which most are.
    Field(String),
    Output(Pipeline),
    Set {
        name: String,
        pipeline: Pipeline,
        declare: bool,
    },
    If {
        branches: Vec<(Pipeline, Vec<Node>)>,
        otherwise: Vec<Node>,
    },
    With {
        pipeline: Pipeline,
        body: Vec<Node>,
        otherwise: Vec<Node>,
    },
    Range {
        variables: Vec<String>,
        pipeline: Pipeline,
        body: Vec<Node>,
        otherwise: Vec<Node>,
    },
}

pub(super) struct Parsed {
    pub(super) nodes: Vec<Node>,
    pub(super) names: Vec<String>,
    pub(super) reads_line: bool,
}

#[derive(Debug, Clone, PartialEq)]
enum Token {
    Value(Value),
    Word(String),
    Dot(Vec<String>),
    Variable(String, Vec<String>),
    Symbol(char),
    /// `:=`
    Declare,
    /// Fields behind a `)`.
    Tail(Vec<String>),
}

enum Piece {
    Text(String),
    Action(Vec<Token>),
}

pub(super) fn parse(source: &str) -> Result<Parsed, String> {
    let pieces = pieces(source)?;
    let mut parser = Parser { pieces: pieces.into_iter().peekable(), names: Vec::new(), reads_line: false, depth: 0 };
    let (nodes, end) = parser.nodes()?;
    match end {
        None => Ok(Parsed { nodes, names: parser.names, reads_line: parser.reads_line }),
        Some(word) => Err(format!("unexpected {{{{{word}}}}}", word = word.0)),
    }
}

/// Splits at `{{` and `}}`; `{{-` and `-}}` take the blanks beside them along.
fn pieces(source: &str) -> Result<Vec<Piece>, String> {
    let mut out = Vec::new();
    let (mut rest, mut trim) = (source, false);
    loop {
        let start = rest.find("{{");
        let text = &rest[..start.unwrap_or(rest.len())];
        let text = if trim { text.trim_start() } else { text };
        let Some(start) = start else {
            if !text.is_empty() {
                out.push(Piece::Text(text.to_owned()));
            }
            return Ok(out);
        };
        rest = &rest[start + 2..];
        let trims_before = rest.starts_with("- ");
        rest = if trims_before { &rest[1..] } else { rest };
        let text = if trims_before { text.trim_end() } else { text };
        if !text.is_empty() {
            out.push(Piece::Text(text.to_owned()));
        }
        if let Some(comment) = rest.trim_start().strip_prefix("/*") {
            let end = comment.find("*/").and_then(|at| comment[at..].find("}}").map(|close| at + close)).ok_or("unclosed comment")?;
            trim = comment[..end].ends_with('-');
            rest = &comment[end + 2..];
            continue;
        }
        let (tokens, behind, trims) = action(rest)?;
        out.push(Piece::Action(tokens));
        (rest, trim) = (behind, trims);
    }
}

/// The tokens up to `}}`, what is behind it, and whether blanks there go.
fn action(source: &str) -> Result<(Vec<Token>, &str, bool), String> {
    let (mut rest, mut tokens) = (source, Vec::new());
    loop {
        let trimmed = rest.trim_start();
        let blank = trimmed.len() < rest.len();
        rest = trimmed;
        if let Some(behind) = rest.strip_prefix("}}") {
            return Ok((tokens, behind, false));
        }
        if let (true, Some(behind)) = (blank, rest.strip_prefix("-}}")) {
            return Ok((tokens, behind, true));
        }
        let c = rest.chars().next().ok_or("unclosed action")?;
        let word_length = |text: &str| text.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(text.len());
        match c {
            '"' | '`' | '\'' => {
                let end = string_end(rest, c)?;
                let text = &rest[1..end];
                let value = if c == '`' { text.to_owned() } else { unquote(text)? };
                tokens.push(Token::Value(match (c, value.chars().next()) {
                    ('\'', Some(c)) => Value::Int(i64::from(u32::from(c))),
                    _ => Value::Text(value),
                }));
                rest = &rest[end + 1..];
            }
            '.' if !rest[1..].starts_with(|c: char| c.is_ascii_digit()) => {
                let (path, behind) = path(rest);
                let behind = if path.is_empty() { &rest[1..] } else { behind };
                tokens.push(if !blank && tokens.last() == Some(&Token::Symbol(')')) { Token::Tail(path) } else { Token::Dot(path) });
                rest = behind;
            }
            '$' => {
                let len = word_length(&rest[1..]);
                let (path, behind) = path(&rest[len + 1..]);
                tokens.push(Token::Variable(rest[1..=len].to_owned(), path));
                rest = behind;
            }
            ':' if rest.starts_with(":=") => {
                tokens.push(Token::Declare);
                rest = &rest[2..];
            }
            '|' | '(' | ')' | '=' | ',' => {
                tokens.push(Token::Symbol(c));
                rest = &rest[1..];
            }
            _ if c.is_ascii_digit() || (matches!(c, '-' | '+' | '.') && rest[1..].starts_with(|c: char| c.is_ascii_digit() || c == '.')) => {
                let len = rest[1..].find(|c: char| !c.is_ascii_alphanumeric() && !matches!(c, '.' | '_')).map_or(rest.len(), |at| at + 1);
                let text = rest[..len].replace('_', "");
                let value = text.parse::<i64>().map(Value::Int).or_else(|_| text.parse::<f64>().map(Value::Float));
                tokens.push(Token::Value(value.map_err(|_| format!("bad number syntax: {text:?}"))?));
                rest = &rest[len..];
            }
            _ if c.is_alphabetic() || c == '_' => {
                let len = word_length(rest);
                tokens.push(match &rest[..len] {
                    "true" => Token::Value(Value::Bool(true)),
                    "false" => Token::Value(Value::Bool(false)),
                    "nil" => Token::Value(Value::Nil),
                    word => Token::Word(word.to_owned()),
                });
                rest = &rest[len..];
            }
            c => return Err(format!("unexpected {c:?} in action")),
        }
    }
}

fn string_end(rest: &str, quote: char) -> Result<usize, String> {
    let bytes = rest.as_bytes();
    let mut at = 1;
    while at < bytes.len() {
        match bytes[at] {
            b'\\' if quote != '`' => at += 2,
            b if char::from(b) == quote => return Ok(at),
            _ => at += 1,
        }
    }
    Err("unterminated quoted string".to_owned())
}

fn unquote(text: &str) -> Result<String, String> {
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        if c != '\\' {
            out.push(c);
            continue;
        }
        out.push(match chars.next() {
            Some('n') => '\n',
            Some('t') => '\t',
            Some('r') => '\r',
            Some(c @ ('\\' | '"' | '\'')) => c,
            Some('x') => hex(&mut chars, 2)?,
            Some('u') => hex(&mut chars, 4)?,
            other => return Err(format!("unknown escape \\{}", other.map_or_else(String::new, |c| c.to_string()))),
        });
    }
    Ok(out)
}

fn hex(chars: &mut std::str::Chars<'_>, digits: usize) -> Result<char, String> {
    let text: String = chars.take(digits).collect();
    u32::from_str_radix(&text, 16).ok().and_then(char::from_u32).ok_or_else(|| format!("bad escape {text:?}"))
}

/// `.a.b` at the start of the text.
fn path(mut rest: &str) -> (Vec<String>, &str) {
    let mut out = Vec::new();
    while let Some(behind) = rest.strip_prefix('.') {
        let len = behind.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(behind.len());
        if len == 0 {
            break;
        }
        out.push(behind[..len].to_owned());
        rest = &behind[len..];
    }
    (out, rest)
}

/// How a block ended: its word, and for `else if` the tokens behind it.
type End = Option<(String, Vec<Token>)>;

struct Parser {
    pieces: std::iter::Peekable<std::vec::IntoIter<Piece>>,
    names: Vec<String>,
    reads_line: bool,
    depth: usize,
}

impl Parser {
    fn nodes(&mut self) -> Result<(Vec<Node>, End), String> {
        let mut out = Vec::new();
        while let Some(piece) = self.pieces.next() {
            let tokens = match piece {
                Piece::Text(text) => {
                    out.push(Node::Text(text));
                    continue;
                }
                Piece::Action(tokens) => tokens,
            };
            match tokens.first() {
                None => return Err("missing value for command".to_owned()),
                Some(Token::Word(word)) => match word.as_str() {
                    "end" | "else" => return Ok((out, Some((word.clone(), tokens[1..].to_vec())))),
                    "if" => {
                        let node = self.block(&tokens[1..], |p, t| p.condition(t))?;
                        out.push(node);
                    }
                    "with" => {
                        let node = self.block(&tokens[1..], |p, t| {
                            let pipeline = p.pipeline(t)?;
                            let (body, otherwise) = p.body()?;
                            Ok(Node::With { pipeline, body, otherwise })
                        })?;
                        out.push(node);
                    }
                    "range" => {
                        let node = self.block(&tokens[1..], Self::range)?;
                        out.push(node);
                    }
                    "break" | "continue" | "define" | "template" | "block" => return Err(format!("{{{{{word}}}}} is not supported")),
                    _ => out.push(Node::Output(self.pipeline(&tokens)?)),
                },
                Some(Token::Variable(name, path)) if path.is_empty() && matches!(tokens.get(1), Some(Token::Declare | Token::Symbol('='))) => {
                    let declare = tokens[1] == Token::Declare;
                    out.push(Node::Set { name: name.clone(), pipeline: self.pipeline(&tokens[2..])?, declare });
                }
                Some(Token::Dot(path)) if path.len() == 1 && tokens.len() == 1 => {
                    self.names.push(path[0].clone());
                    out.push(Node::Field(path[0].clone()));
                }
                Some(_) => out.push(Node::Output(self.pipeline(&tokens)?)),
            }
        }
        Ok((out, None))
    }

    fn block(&mut self, tokens: &[Token], make: impl FnOnce(&mut Self, &[Token]) -> Result<Node, String>) -> Result<Node, String> {
        self.depth += 1;
        if self.depth > DEPTH_MAX {
            return Err(format!("blocks are nested more than {DEPTH_MAX} deep"));
        }
        let node = make(self, tokens)?;
        self.depth -= 1;
        Ok(node)
    }

    /// Up to `{{end}}`, with what is behind `{{else}}`.
    fn body(&mut self) -> Result<(Vec<Node>, Vec<Node>), String> {
        let (body, end) = self.nodes()?;
        match end {
            Some((word, _)) if word == "end" => Ok((body, Vec::new())),
            Some((_, tokens)) if tokens.is_empty() => match self.nodes()? {
                (otherwise, Some((word, _))) if word == "end" => Ok((body, otherwise)),
                _ => Err("unexpected EOF: expecting {{end}}".to_owned()),
            },
            Some(_) => Err("expecting {{else}} or {{end}}".to_owned()),
            None => Err("unexpected EOF: expecting {{end}}".to_owned()),
        }
    }

    fn condition(&mut self, tokens: &[Token]) -> Result<Node, String> {
        let mut branches = Vec::new();
        let mut test = self.pipeline(tokens)?;
        loop {
            let (body, end) = self.nodes()?;
            branches.push((test, body));
            match end {
                None => return Err("unexpected EOF: expecting {{end}}".to_owned()),
                Some((word, _)) if word == "end" => return Ok(Node::If { branches, otherwise: Vec::new() }),
                Some((_, tokens)) if tokens.is_empty() => {
                    return match self.nodes()? {
                        (otherwise, Some((word, _))) if word == "end" => Ok(Node::If { branches, otherwise }),
                        _ => Err("unexpected EOF: expecting {{end}}".to_owned()),
                    };
                }
                Some((_, tokens)) => match tokens.first() {
                    Some(Token::Word(word)) if word == "if" => test = self.pipeline(&tokens[1..])?,
                    _ => return Err("expecting {{else}} or {{else if …}}".to_owned()),
                },
            }
        }
    }

    fn range(&mut self, tokens: &[Token]) -> Result<Node, String> {
        let declared = tokens.iter().position(|t| *t == Token::Declare);
        let variables =
            tokens[..declared.unwrap_or(0)].iter().filter_map(|t| if let Token::Variable(name, _) = t { Some(name.clone()) } else { None });
        let variables: Vec<String> = variables.collect();
        let pipeline = self.pipeline(&tokens[declared.map_or(0, |at| at + 1)..])?;
        let (body, otherwise) = self.body()?;
        Ok(Node::Range { variables, pipeline, body, otherwise })
    }

    fn pipeline(&mut self, tokens: &[Token]) -> Result<Pipeline, String> {
        let mut at = 0;
        let out = self.commands(tokens, &mut at)?;
        if at < tokens.len() { Err("unexpected \")\"".to_owned()) } else { Ok(out) }
    }

    /// Commands up to the end or an unopened `)`.
    fn commands(&mut self, tokens: &[Token], at: &mut usize) -> Result<Pipeline, String> {
        self.depth += 1;
        if self.depth > DEPTH_MAX {
            return Err(format!("parentheses are nested more than {DEPTH_MAX} deep"));
        }
        let mut out: Pipeline = Vec::new();
        loop {
            let mut terms = Vec::new();
            while let Some(token) = tokens.get(*at).filter(|t| !matches!(t, Token::Symbol('|' | ')'))) {
                terms.push(self.term(token, tokens, at)?);
            }
            if terms.is_empty() {
                return Err("missing value for command".to_owned());
            }
            let arguments = terms.split_off(1);
            let head = terms.pop().unwrap_or(Term::Value(Value::Nil));
            match &head {
                Term::Call(function) => function.check_count(arguments.len() + usize::from(!out.is_empty()))?,
                _ if !arguments.is_empty() => return Err("can't give arguments to what is no function".to_owned()),
                _ if !out.is_empty() => return Err("non executable command in pipeline".to_owned()),
                _ => {}
            }
            out.push(Command { head, arguments });
            if tokens.get(*at) != Some(&Token::Symbol('|')) {
                self.depth -= 1;
                return Ok(out);
            }
            *at += 1;
        }
    }

    fn term(&mut self, token: &Token, tokens: &[Token], at: &mut usize) -> Result<Term, String> {
        *at += 1;
        Ok(match token {
            Token::Value(value) => Term::Value(value.clone()),
            Token::Dot(path) => {
                self.names.extend(path.first().cloned());
                Term::Dot(path.clone())
            }
            Token::Variable(name, path) => {
                if name.is_empty() {
                    self.names.extend(path.first().cloned());
                }
                Term::Variable(name.clone(), path.clone())
            }
            Token::Symbol('(') => {
                let inner = self.commands(tokens, at)?;
                if tokens.get(*at) != Some(&Token::Symbol(')')) {
                    return Err("unclosed left paren".to_owned());
                }
                *at += 1;
                let tail = if let Some(Token::Tail(path)) = tokens.get(*at) { path.clone() } else { Vec::new() };
                *at += usize::from(!tail.is_empty());
                Term::Group(inner, tail)
            }
            Token::Word(word) => {
                self.reads_line |= word == "__line__";
                let known = FUNCTIONS.iter().find(|f| f.name == word);
                Term::Call(known.ok_or_else(|| format!("function {word:?} not defined"))?)
            }
            Token::Symbol(c) => return Err(format!("unexpected {c:?} in action")),
            Token::Declare | Token::Tail(_) => return Err("unexpected token in action".to_owned()),
        })
    }
}
