//! Templates of `line_format` and `label_format`: the part of Go's template language that log queries use.
//!
//! Separate from the templates of alerts: those have other data and other functions, and these run once a line, so
//! that fields and functions are found when the template is parsed.

mod functions;
mod go_time;
mod parse;
mod print;
mod value;

pub use functions::{FUNCTIONS, TemplateFunction};
use parse::{Command, Node, Pipeline, Term};
use value::Value;

/// Longest text a template may make of one line, bytes.
pub const TEMPLATE_OUTPUT_MAX: usize = 1 << 20;
/// Most rounds of all `range` loops of one line.
const ROUNDS_MAX: usize = 10_000;

/// What a template may refer to.
pub(crate) trait Data {
    /// The value of a label.
    fn label(&self, name: &str) -> Option<&str>;
    /// The line.
    fn line(&self) -> &str;
    /// Its time, Unix nanoseconds.
    fn time(&self) -> i64;
    /// The time of the query, Unix nanoseconds.
    fn now(&self) -> i64;
}

/// A template ready to run.
#[derive(Debug, Clone)]
pub(crate) struct Template {
    nodes: Vec<Node>,
    names: Vec<String>,
    reads_line: bool,
}

impl Template {
    pub(crate) fn new(source: &str) -> Result<Self, String> {
        let parsed = parse::parse(source)?;
        Ok(Self { nodes: parsed.nodes, names: parsed.names, reads_line: parsed.reads_line })
    }

    /// Labels it refers to by name.
    pub(crate) fn names(&self) -> &[String] {
        &self.names
    }

    /// Whether it refers to the line.
    pub(crate) fn reads_line(&self) -> bool {
        self.reads_line
    }

    pub(crate) fn render(&self, data: &dyn Data) -> Result<String, String> {
        let mut run = Run { data, variables: Vec::new(), out: String::new(), rounds: 0 };
        run.nodes(&self.nodes, &Value::Root)?;
        Ok(run.out)
    }
}

struct Run<'a> {
    data: &'a dyn Data,
    variables: Vec<(String, Value)>,
    out: String,
    rounds: usize,
}

impl Run<'_> {
    fn nodes(&mut self, nodes: &[Node], dot: &Value) -> Result<(), String> {
        let scope = self.variables.len();
        for node in nodes {
            self.node(node, dot)?;
            if self.out.len() > TEMPLATE_OUTPUT_MAX {
                return Err(format!("template makes more than {TEMPLATE_OUTPUT_MAX} bytes"));
            }
        }
        self.variables.truncate(scope);
        Ok(())
    }

    fn node(&mut self, node: &Node, dot: &Value) -> Result<(), String> {
        match node {
            Node::Text(text) => self.out.push_str(text),
            Node::Field(name) if matches!(dot, Value::Root) => self.out.push_str(self.data.label(name).unwrap_or("")),
            Node::Field(name) => {
                let value = self.field(dot, name)?;
                value.print(&mut self.out);
            }
            Node::Output(pipeline) => {
                let value = self.pipeline(pipeline, dot)?;
                value.print(&mut self.out);
            }
            Node::Set { name, pipeline, declare } => {
                let value = self.pipeline(pipeline, dot)?;
                match self.variables.iter_mut().rev().find(|(n, _)| n == name).filter(|_| !declare) {
                    Some((_, known)) => *known = value,
                    None => self.variables.push((name.clone(), value)),
                }
            }
            Node::If { branches, otherwise } => {
                for (pipeline, body) in branches {
                    if self.pipeline(pipeline, dot)?.truthy() {
                        return self.nodes(body, dot);
                    }
                }
                self.nodes(otherwise, dot)?;
            }
            Node::With { pipeline, body, otherwise } => {
                let value = self.pipeline(pipeline, dot)?;
                if value.truthy() { self.nodes(body, &value)? } else { self.nodes(otherwise, dot)? }
            }
            Node::Range { variables, pipeline, body, otherwise } => {
                let value = self.pipeline(pipeline, dot)?;
                let items = value.items()?;
                if items.is_empty() {
                    return self.nodes(otherwise, dot);
                }
                for (key, item) in items {
                    self.rounds += 1;
                    if self.rounds > ROUNDS_MAX {
                        return Err(format!("template loops more than {ROUNDS_MAX} times"));
                    }
                    let scope = self.variables.len();
                    match variables.as_slice() {
                        [one] => self.variables.push((one.clone(), item.clone())),
                        [first, second] => self.variables.extend([(first.clone(), key), (second.clone(), item.clone())]),
                        _ => {}
                    }
                    self.nodes(body, &item)?;
                    self.variables.truncate(scope);
                }
            }
        }
        Ok(())
    }

    fn pipeline(&mut self, pipeline: &Pipeline, dot: &Value) -> Result<Value, String> {
        let mut last = None;
        for command in pipeline {
            last = Some(self.command(command, last, dot)?);
        }
        Ok(last.unwrap_or(Value::Nil))
    }

    fn command(&mut self, command: &Command, piped: Option<Value>, dot: &Value) -> Result<Value, String> {
        let Term::Call(function) = &command.head else {
            return self.term(&command.head, dot);
        };
        let mut arguments = Vec::with_capacity(command.arguments.len() + 1);
        for term in &command.arguments {
            arguments.push(self.term(term, dot)?);
        }
        arguments.extend(piped);
        function.call(&arguments, self.data)
    }

    fn term(&mut self, term: &Term, dot: &Value) -> Result<Value, String> {
        match term {
            Term::Value(value) => Ok(value.clone()),
            Term::Call(function) => function.call(&[], self.data),
            Term::Dot(path) => self.path(dot.clone(), path),
            Term::Variable(name, path) => {
                let value = match self.variables.iter().rev().find(|(n, _)| n == name) {
                    Some((_, value)) => value.clone(),
                    // `$` alone is the data.
                    None => Value::Root,
                };
                self.path(value, path)
            }
            Term::Group(pipeline, path) => {
                let value = self.pipeline(pipeline, dot)?;
                self.path(value, path)
            }
        }
    }

    fn path(&self, value: Value, path: &[String]) -> Result<Value, String> {
        path.iter().try_fold(value, |value, name| self.field(&value, name))
    }

    fn field(&self, value: &Value, name: &str) -> Result<Value, String> {
        match value {
            Value::Root => Ok(Value::Text(self.data.label(name).unwrap_or("").to_owned())),
            Value::Map(map) => Ok(map.iter().find(|(key, _)| key == name).map_or(Value::Nil, |(_, value)| value.clone())),
            Value::Nil => Ok(Value::Nil),
            _ => Err(format!("can't evaluate field {name} in a value that has none")),
        }
    }
}

#[cfg(test)]
mod tests;
