mod evaluation;
mod store;
mod syntax;
