//! What a metric is called and what it means, said once, where the number is defined: a table
//! makes the fields, their names, and the list of all of them.

use super::Counter;

/// A metric, whichever its labels are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Family {
    /// Its name, unit included.
    pub name: &'static str,
    /// What it is, in a sentence.
    pub help: &'static str,
    /// How its values behave.
    pub kind: Kind,
}

/// How the values of a metric behave, and in which unit they are counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// It grows.
    Counter,
    /// It goes up and down.
    Gauge,
    /// It grows; counted in microseconds, told in seconds.
    CounterMicros,
    /// It goes up and down, and is how a loop is: that of two is nothing that adds up.
    State,
    /// The same; counted in microseconds, told in seconds.
    StateMicros,
    /// Times.
    Histogram,
}

/// One number of a set of type `T`.
#[derive(Debug)]
pub struct Field<T> {
    /// The metric that it is part of.
    pub family: Family,
    /// Which part, if it is one of several.
    pub label: Option<(&'static str, &'static str)>,
    /// Where it is.
    pub get: fn(&T) -> &Counter,
}

impl Kind {
    /// Whether it only grows.
    pub fn grows(self) -> bool {
        matches!(self, Self::Counter | Self::CounterMicros | Self::Histogram)
    }

    /// Whether that of several, added up, is that of all of them together.
    pub fn adds_up(self) -> bool {
        !matches!(self, Self::State | Self::StateMicros)
    }
}

/// A struct of counters, and its `FIELDS`: of each, the metric that it is. A field either is one by
/// itself (`as "name"`, its doc is what is said about it), or is part of one (`of FAMILY`).
macro_rules! table {
    (
        $(#[$about:meta])*
        pub struct $set:ident {
            $(
                $(#[doc = $doc:literal])+
                $field:ident: $kind:ident
                    $(as $name:literal)? $(of $family:ident [$label:literal = $value:literal])?,
            )*
        }
        with {
            $( $(#[doc = $more_doc:literal])+ $more:ident: $type:ty, )*
        }
    ) => {
        $(#[$about])*
        pub struct $set {
            $( $(#[doc = $doc])+ pub $field: $crate::metrics::Counter, )*
            $( $(#[doc = $more_doc])+ pub $more: $type, )*
        }

        impl $set {
            /// All its numbers that are counters or gauges, those of one metric together.
            pub const FIELDS: &'static [$crate::metrics::family::Field<Self>] = &[$(
                $crate::metrics::family::Field {
                    family: $crate::metrics::family::table!(
                        @family $kind [$($doc),+] $(as $name)? $(of $family)?
                    ),
                    label: $crate::metrics::family::table!(@label $($label = $value)?),
                    get: |set| &set.$field,
                },
            )*];
        }
    };
    (@family $kind:ident [$($doc:literal),+] as $name:literal) => {
        $crate::metrics::family::Family {
            name: $name,
            help: concat!($($doc),+),
            kind: $crate::metrics::family::Kind::$kind,
        }
    };
    (@family $kind:ident [$($doc:literal),+] of $family:ident) => { $family };
    (@label) => { None };
    (@label $label:literal = $value:literal) => { Some(($label, $value)) };
}

pub(super) use table;
