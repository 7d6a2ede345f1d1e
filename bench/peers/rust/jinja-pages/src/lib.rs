//! The two pages in minijinja, for the peers that render with it: the very template files that
//! ringpress serves, compiled once at start.

use minijinja::{Environment, Error, Value, context};

/// The templates, ready to render.
pub struct Pages {
    environment: Environment<'static>,
}

impl Pages {
    /// Compiles the templates. Names that end in `.html` are escaped as HTML.
    pub fn new() -> Result<Self, Error> {
        let mut environment = Environment::new();
        let (user, list) = (
            include_str!("../../../../site/user.html"),
            include_str!("../../../../site/list.html"),
        );
        environment.add_template("user.html", user)?;
        environment.add_template("list.html", list)?;
        Ok(Self { environment })
    }

    /// The page of a user.
    pub fn user(&self, page: Value) -> Result<String, Error> {
        self.environment.get_template("user.html")?.render(context! { page })
    }

    /// The page of a list with its items.
    pub fn list(&self, list: Value, items: Vec<Value>) -> Result<String, Error> {
        self.environment.get_template("list.html")?.render(context! { list, items })
    }
}

/// The numbers of a list's items: what is to be fetched for its page.
pub fn item_numbers(list: &Value) -> Result<Vec<u64>, Error> {
    list.get_attr("items")?.try_iter()?.map(u64::try_from).collect()
}
