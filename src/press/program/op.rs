//! What programs are made of.

use crate::press::json::Name;
use crate::press::octets::{WIDTH, padded};
use minijinja::{AutoEscape, Value};
use std::ops::Range;

/// A template as a program.
#[derive(Debug)]
pub(in crate::press) struct Program {
    pub(super) steps: Box<[Step]>,
    /// Slots that the steps use.
    pub(super) slots: usize,
    pub(super) macros: Box<[Macro]>,
    /// The loops that call themselves.
    pub(super) loops: Box<[For]>,
    /// Whether what it prints depends on the page's names alone.
    pub(in crate::press) pure: bool,
    /// The names it takes from the page; [`Expr::Root`] has an index into them.
    pub(in crate::press) names: Box<[Box<str>]>,
}

/// How what is printed is escaped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::press) enum Escape {
    /// As HTML.
    Html,
    /// As JSON.
    Json,
    /// Not at all.
    None,
}

/// A statement.
#[derive(Debug)]
pub(super) enum Step {
    /// Appends a text.
    Raw(Text),
    /// Appends a value.
    Emit(Expr, Escape),
    /// Appends texts and what paths from one beginning lead to, in turns.
    Prints(Head, Box<[Print]>),
    For(Box<For>),
    /// A loop that calls itself.
    Recursive(LoopId),
    /// Prints what it makes of another list: `loop(list)`.
    Recurse(Box<Recurse>),
    If(Box<If>),
    Set(Target, Expr),
    /// Sets an attribute of a namespace: the namespace, the value, and the statement that does it.
    SetAttribute(Box<(Expr, Expr)>, ForeignId),
    /// These variables have no value (any more): their scope begins.
    Clear(Box<[Slot]>),
    /// Puts what a body prints into a variable.
    Capture(Box<[Step]>, Slot, Escape),
    /// Prints a macro, with the body that its `caller()` prints.
    CallBlock(Box<CallBlock>),
    /// Prints that body, in a macro, with values for its parameters.
    Caller(Box<[Expr]>),
    /// Runs a body for what it sets.
    Discard(Box<[Step]>),
    Break,
    Continue,
}

/// A text of the template; zeros fill its last bytes up. Most are short: those are all in `first`.
#[derive(Debug)]
pub(super) struct Text {
    pub(super) first: [u8; FIRST_BYTES],
    pub(super) rest: Box<[[u8; WIDTH]]>,
    len: usize,
}

/// A text, and the value that follows it: never one of a JSON page.
#[derive(Debug)]
pub(super) struct Print {
    pub(super) text: Text,
    pub(super) names: Box<[Name]>,
    pub(super) escape: Escape,
    /// The value as an expression, for where the path leads elsewhere.
    pub(super) otherwise: Expr,
}

/// A loop.
#[derive(Debug)]
pub(super) struct For {
    pub(super) list: Expr,
    /// Where the items go for the filter, and the filter.
    pub(super) filter: Option<(Target, Expr)>,
    pub(super) target: Target,
    /// What `loop` is within.
    pub(super) state: Slot,
    /// What it is around this loop, if that is one that calls itself: `loop.depth` counts those.
    pub(super) outer: Option<Slot>,
    /// What the body asks of `loop` beyond the number of the turn.
    pub(super) asks: LoopAsks,
    /// Its slots: where it calls itself, the turn that does has them back afterwards.
    pub(super) slots: Range<Slot>,
    pub(super) clears: Box<[Slot]>,
    pub(super) body: Box<[Step]>,
    pub(super) otherwise: Box<[Step]>,
}

/// What a loop's body asks of `loop`.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct LoopAsks {
    /// How long the list is.
    pub(super) length: bool,
    /// Where the item before this one goes.
    pub(super) previous: Option<Slot>,
    /// And the one after it.
    pub(super) next: Option<Slot>,
    /// What `loop.changed` was asked about last.
    pub(super) changed: Option<Slot>,
}

/// A loop that calls itself, with another list.
#[derive(Debug)]
pub(super) struct Recurse {
    pub(super) called: LoopId,
    pub(super) list: Expr,
    /// Levels from the loop's body to where it is called.
    pub(super) levels: usize,
}

#[derive(Debug)]
pub(super) struct If {
    pub(super) test: Expr,
    pub(super) yes: Box<[Step]>,
    pub(super) no: Box<[Step]>,
}

#[derive(Debug)]
pub(super) struct CallBlock {
    pub(super) called: MacroId,
    pub(super) args: Box<[Option<Expr>]>,
    pub(super) params: Box<[Param]>,
    pub(super) body: Box<[Step]>,
    /// Levels in it: bodies and expressions, one in the other.
    pub(super) levels: usize,
}

/// A parameter of a call block's body.
#[derive(Debug)]
pub(super) struct Param {
    pub(super) slot: Slot,
    /// What it is when it is not given.
    pub(super) default: Option<Value>,
}

/// Variables that get a value, or the items of one.
#[derive(Debug)]
pub(super) enum Target {
    One(Slot),
    Each(Box<[Target]>),
}

/// A macro's body, for one way of escaping.
#[derive(Debug, Default)]
pub(super) struct Macro {
    /// For each parameter, the first slots, what it is when it is not given.
    pub(super) defaults: Box<[Option<Value>]>,
    pub(super) slots: usize,
    pub(super) steps: Box<[Step]>,
    /// Whether it prints the body of a call block.
    pub(super) has_caller: bool,
    /// Levels in it: bodies and expressions, one in the other.
    pub(super) levels: usize,
}

/// An expression.
#[derive(Debug)]
pub(super) enum Expr {
    Const(Value),
    /// A constant that is a plain string.
    Text(Box<str>),
    Integer(i64),
    /// The first of these variables that has a value, or else the name.
    Local(Box<[Slot]>, Option<NameId>),
    /// A variable of the template, in a macro.
    Fixed(Slot),
    Root(NameId),
    Attribute(Box<Expr>, Name),
    /// Attributes of a variable or a name of the page: what most templates mostly print.
    Path(Box<Path>),
    Loop(Slot, LoopField),
    Cycle(Slot, Box<[Expr]>),
    /// Whether these are other values than in the turn before.
    Changed(Slot, Box<[Expr]>),
    /// What a loop prints of another list.
    Recurse(Box<Recurse>, Escape),
    /// What the body of the call block prints.
    Caller(Box<[Expr]>, Escape),
    /// Whether there is one.
    HasCaller,
    Not(Box<Expr>),
    And(Box<(Expr, Expr)>),
    Or(Box<(Expr, Expr)>),
    Choose(Box<(Expr, Expr, Option<Expr>)>),
    Op(Box<Op>),
    /// A macro, with a value for each parameter that is given.
    Call(MacroId, Box<[Option<Expr>]>, Escape),
    /// What a body prints: `super()`.
    Body(Box<[Step]>, Escape),
}

/// A way through the JSON of a fetch.
#[derive(Debug)]
pub(super) struct Path {
    pub(super) head: Head,
    pub(super) names: Box<[Name]>,
    /// The same as an expression, for where it leads elsewhere.
    pub(super) otherwise: Expr,
}

/// Where a path begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Head {
    Local(Slot),
    Fixed(Slot),
    Root(NameId),
}

/// An operation: the short way, if there is one for these inputs, or minijinja's.
#[derive(Debug)]
pub(super) struct Op {
    pub(super) kind: OpKind,
    pub(super) inputs: Box<[Expr]>,
    pub(super) foreign: ForeignId,
    pub(super) escape: Escape,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum OpKind {
    /// There is no short way.
    Foreign,
    Add,
    Sub,
    Mul,
    Rem,
    Concat,
    Eq,
    Ne,
    Lt,
    Le,
    Gt,
    Ge,
    In,
    NotIn,
    Item,
    Length,
    Default,
    Escape,
    Safe,
    IsDefined,
    IsUndefined,
    IsNone,
    IsEven,
    IsOdd,
    IsString,
    IsNumber,
    IsMapping,
    IsSequence,
}

/// The attributes of `loop`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LoopField {
    Index,
    Index0,
    RevIndex,
    RevIndex0,
    First,
    Last,
    Length,
    Depth,
    Depth0,
}

pub(in crate::press) type Slot = u32;
pub(in crate::press) type NameId = u32;
pub(in crate::press) type MacroId = u32;
pub(in crate::press) type LoopId = u32;
pub(in crate::press) type ForeignId = u32;

impl Text {
    #[inline]
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// The bytes, without the zeros.
    pub(super) fn bytes(&self) -> Vec<u8> {
        let bytes = self.first.iter().chain(self.rest.as_flattened());
        bytes.take(self.len).copied().collect()
    }
}

impl From<&[u8]> for Text {
    fn from(text: &[u8]) -> Self {
        let mut first = [0; FIRST_BYTES];
        first.iter_mut().zip(text).for_each(|(to, from)| *to = *from);
        let rest = text.get(FIRST_BYTES..).unwrap_or_default();
        Self { first, rest: rest.chunks(WIDTH).map(padded).collect(), len: text.len() }
    }
}

/// How much of a text goes without a look at how long it is.
pub(super) const FIRST_BYTES: usize = 2 * WIDTH;

impl LoopField {
    pub(super) fn named(name: &str) -> Option<Self> {
        Some(match name {
            "index" => Self::Index,
            "index0" => Self::Index0,
            "revindex" => Self::RevIndex,
            "revindex0" => Self::RevIndex0,
            "first" => Self::First,
            "last" => Self::Last,
            "length" => Self::Length,
            "depth" => Self::Depth,
            "depth0" => Self::Depth0,
            _ => return None,
        })
    }

    pub(super) fn asks_length(self) -> bool {
        matches!(self, Self::RevIndex | Self::RevIndex0 | Self::Last | Self::Length)
    }
}

impl Escape {
    /// minijinja's word for it.
    pub(in crate::press) fn auto_escape(self) -> AutoEscape {
        match self {
            Escape::Html => AutoEscape::Html,
            Escape::Json => AutoEscape::Json,
            Escape::None => AutoEscape::None,
        }
    }

    pub(in crate::press) fn of(auto_escape: &AutoEscape) -> Option<Self> {
        match auto_escape {
            AutoEscape::Html => Some(Escape::Html),
            AutoEscape::Json => Some(Escape::Json),
            AutoEscape::None => Some(Escape::None),
            _ => None,
        }
    }
}
