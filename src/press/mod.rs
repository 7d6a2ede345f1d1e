//! From upstream bytes to HTML: JSON into values, values through templates and expressions, and
//! every value escaped by where it goes. A [`Press`] holds all compiled programs of a site.
//!
//! This layer makes text. Which fetch a text is for, and in which order things happen, is the
//! site's and the page's concern.

mod answer;
mod asks;
mod assets;
mod blocks;
mod body;
mod builder;
mod compiled;
mod context;
mod environment;
mod error;
mod escape;
mod fields;
mod filters;
mod form;
mod fragments;
mod json;
mod methods;
mod names;
mod nested;
mod nesting;
mod octets;
mod piece;
mod program;
mod scan;
mod url;
mod xml;

pub(crate) use answer::split_origin;
pub use answer::{LocationTemplate, TextTemplate};
pub use asks::{Always, Asks, What};
pub use assets::Assets;
pub use blocks::{Block, Blocks};
pub use body::BodyTemplate;
pub use builder::{Builder, ExpressionFacts, Place, TemplateFacts};
pub use compiled::{Binding, ExpressionId, Press, TemplateId};
pub(crate) use context::REQUEST_FIELDS;
pub use context::{Context, FetchFailure, Inputs, Names, Uses};
pub use environment::content_type;
pub(crate) use environment::{is_template, made_name};
pub use error::{PressError, Spot};
pub use fields::Params;
pub use form::{Form, FormFile};
pub(crate) use fragments::trouble as fragment_trouble;
pub use fragments::{Ask, Fragments};
pub use json::{Data, Doc, JsonError, parse};
pub use minijinja::Value;
pub use names::{Import, Reference, Use};
pub use nested::BarePrint;
pub(crate) use piece::{REQUEST_NAMES, kind_name};
pub use program::Uncovered;
pub(crate) use scan::{BLOCK, PRINTED, markup};
pub use url::{FieldTemplate, PathTemplate, QueryTemplate};
pub(crate) use xml::replace_forbidden;
