//! From the files of a site to the site: everything is put together, and everything that does
//! not fit is told.

mod answers;
mod asks;
mod fetches;

use super::answers::AnswerPlan;
use super::asks::Takes;
use super::budget;
use super::check::{self, Scope, Templates};
use super::cycle::find_cycle;
use super::page::{Node, NodeKind, Page};
use super::plan::Overrides;
use super::route::{Pattern, Router, is_name};
use super::secure::Secured;
use super::security::Security;
use super::source::Files;
use super::statics::Statics;
use super::{Site, error_page, fragments, inherited, policy};
use crate::coding;
use crate::config::{
    self, At, LetTable, PageTable, Priority, Problem, Report, SourceFile, Upstream, suggestion,
};
use crate::http::Method;
use crate::limits::PAGE_NODES_MAX;
use crate::press::{
    Ask, Builder, ExpressionFacts, Names, Place, REQUEST_NAMES, Use, Uses, content_type,
};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;
use xxhash_rust::xxh3::xxh3_64_with_seed;

/// Compiles a site; with the keys and certificates of upstreams that were read for it before, if
/// they were. What there is to know of its own certificates is in `secured`: they may have changed
/// when a site is compiled again.
pub(super) fn compile(
    files: Arc<Files>,
    overrides: Overrides,
    security: Option<Arc<Security>>,
    secured: Secured,
) -> Result<Site, Report> {
    let (mut written, mut problems) = config::read(&files.site);
    problems.extend(secured.problems.iter().cloned());
    written.server.acme = written.server.acme.take().map(|acme| acme.beside(files.folder()));
    overrides.apply(&mut written.server, &mut written.upstreams, &mut problems);
    secured.tell(&mut written.upstreams);
    let security = security
        .unwrap_or_else(|| Security::read(&files, &written.upstreams, &mut problems).into());
    let statics = Statics::compile(&files, &written.statics, &mut problems);
    let assets = statics.assets(&files, &mut problems);
    let mut builder =
        Builder::default().with_assets(Arc::clone(&assets)).with_other_assets(!statics.are_whole());
    let templates = check::templates(&files, &mut builder, &mut problems);
    let functions = builder.functions().to_vec();
    let policy = policy::Policy::new(&written.server.headers, &files.templates);
    let mut compiler = Compiler {
        file: &files.site,
        known: files.templates.iter().map(|file| file.name.as_str()).collect(),
        functions: &functions,
        upstreams: &written.upstreams,
        request_id: written.server.request_id.as_deref(),
        page_fields: policy.lines(),
        has_sessions: written.server.session.is_some(),
        templates: &templates,
        builder,
        problems,
    };
    let drafts = written.pages.iter().map(|page| compiler.page(page)).collect::<Vec<_>>();
    let mut router = compiler.router(&written.pages, &drafts);
    compiler.fragments(&router, &drafts);
    compiler.error_templates(&written.pages);
    let Compiler { builder, mut problems, .. } = compiler;
    statics.route(&files.site, &written.pages, &mut router, &mut problems);
    let press = builder.finish().map_err(|problem| problems.push(problem)).ok();
    let report = |problems| Err(Report::new(&files.name, &files.site.name, problems));
    let (Some(press), true) = (press, problems.is_empty()) else { return report(problems) };
    let press = Arc::new(press);
    let version = assets.version(files.version());
    let whole = Whole { press: &press, version, secured: &secured };
    let pages = whole.pages(drafts, &own_cookies(&written.pages));
    let incomplete = |why| report(vec![Problem::of_file(&files.site.name, why)]);
    let Some(pages) = pages else { return incomplete("the site is incomplete".to_owned()) };
    let upstreams = match security.plans(written.upstreams, overrides.stand_in.as_ref()) {
        Ok(upstreams) => upstreams,
        Err(why) => return incomplete(why),
    };
    let error_templates = error_page::templates(&press, &files.templates);
    let (server, name) = (written.server, files.name.clone());
    Ok(Site {
        name,
        server,
        upstreams,
        pages,
        statics: statics.into_statics(),
        router,
        press,
        error_templates,
        policy,
        security,
        secured,
        files,
        overrides,
    })
}

struct Compiler<'a> {
    file: &'a SourceFile,
    /// All template files, those that do not compile too.
    known: BTreeSet<&'a str>,
    functions: &'a [String],
    upstreams: &'a [Upstream],
    request_id: Option<&'a str>,
    /// Field lines that all HTML has.
    page_fields: &'a [u8],
    has_sessions: bool,
    templates: &'a Templates<'a>,
    builder: Builder,
    problems: Vec<Problem>,
}

/// A page that is fine so far; its template gets its id with the press.
struct Draft {
    pattern: Pattern,
    text: String,
    takes: Takes,
    template: Option<String>,
    deadline: Duration,
    priority: Priority,
    compress: bool,
    nodes: Vec<Node>,
    /// What fetches, lets and the template use.
    uses: Uses,
    /// And what it answers beside the body.
    answers: AnswerPlan,
    answers_use: Uses,
    internal: bool,
    fragments: Option<Box<[Ask]>>,
}

/// What a page takes of the site as a whole.
struct Whole<'a> {
    press: &'a Arc<crate::press::Press>,
    version: u64,
    secured: &'a Secured,
}

impl Whole<'_> {
    fn pages(&self, drafts: Vec<Option<Draft>>, cookies: &Arc<[String]>) -> Option<Vec<Page>> {
        let drafts = drafts.into_iter().enumerate();
        drafts.map(|(place, draft)| draft?.page(place, self, cookies)).collect()
    }
}

impl Draft {
    /// The page as part of others.
    fn part(&self) -> fragments::Part<'_> {
        let template = self.template.as_deref();
        fragments::Part { template: template.filter(|_| self.takes.methods.have(Method::Get)) }
    }

    fn page(mut self, place: usize, whole: &Whole<'_>, cookies: &Arc<[String]>) -> Option<Page> {
        let Whole { press, version, secured } = whole;
        budget::assign(&mut self.nodes, self.deadline);
        let names = Names::new(self.nodes.iter().map(|node| node.name.as_str()));
        let names = names.with_cookies(Arc::clone(cookies));
        let template = match &self.template {
            Some(template) => Some(press.template(template)?),
            None => None,
        };
        let (uses, mut answers) = (self.uses, self.answers);
        let all_uses = union(uses, self.answers_use);
        answers.sessions = secured.sessions.clone().filter(|_| all_uses.session);
        let is_pure = |node: &Node| match node.kind {
            NodeKind::Let(expression) => press.is_pure_expression(expression),
            // What the visitor gets beside the page is not remembered.
            NodeKind::Fetch(ref fetch) => fetch.pass.is_empty(),
        };
        // A form is empty wherever a page is remembered: of POST none is.
        let from_address =
            !uses.headers && !uses.cookies && !uses.request && !uses.session && !uses.statuses;
        let is_pure = from_address
            && template.is_some_and(|template| press.is_pure(template))
            && self.nodes.iter().all(is_pure);
        let content_type = self.template.as_deref().map_or("", content_type);
        Some(Page {
            place,
            version: is_pure.then(|| xxh3_64_with_seed(self.text.as_bytes(), *version)),
            pattern: self.text,
            takes: self.takes,
            deadline: self.deadline,
            priority: self.priority,
            template,
            answers: answers.is_some().then(|| Box::new(answers)),
            binding: template.map(|template| press.bind(template, &names)).unwrap_or_default(),
            content_type,
            packs: self.compress && coding::is_packable(content_type),
            is_personal: !from_address,
            nodes: self.nodes,
            internal: self.internal,
            fragments: self.fragments,
            uses: all_uses,
            names: Arc::new(names),
            press: Arc::clone(press),
        })
    }
}

impl Compiler<'_> {
    fn page(&mut self, page: &PageTable) -> Option<Draft> {
        let pattern = page.path.as_ref().and_then(|path| self.pattern(path));
        let params = pattern.as_ref().map(|pattern| pattern.params.clone());
        let rest = pattern.as_ref().and_then(|pattern| pattern.rest.clone());
        let count = page.fetches.len() + page.lets.len();
        if count > PAGE_NODES_MAX {
            let message = format!("this page has {count} fetches and lets, over {PAGE_NODES_MAX}");
            self.problems.push(self.file.problem(page.span.clone(), message));
            return None;
        }
        let names = self.node_names(page);
        let scope = Scope {
            nodes: names.clone(),
            params: params.as_deref(),
            functions: self.functions,
            is_page: true,
            has_sessions: self.has_sessions,
            ..Scope::default()
        };
        let mut nodes = Vec::new();
        let mut all_uses = Vec::new();
        for fetch in &page.fetches {
            let (kind, uses) = self.fetch(page, fetch, &scope, rest.as_deref());
            nodes.push((&fetch.name, kind, uses));
        }
        for binding in &page.lets {
            let (kind, uses) = self.binding(binding, &scope);
            nodes.push((&binding.name, kind, uses));
        }
        let mut compiled = Vec::new();
        for (name, kind, uses) in nodes {
            let needs = self.needs(&uses, &names);
            all_uses.extend(uses.iter().map(|found| found.top().to_owned()));
            compiled.push((name, needs, kind));
        }
        self.cycle(&compiled);
        let mut uses = check::request_uses(all_uses.iter().map(String::as_str));
        let (answers, answers_use) = self.answers(page, &scope, rest.as_deref());
        let mut answers_use = check::request_uses(answers_use.iter().map(Use::top));
        answers_use.session |= !answers.session.is_empty() || answers.end_session.is_some();
        if page.template.as_ref().is_some_and(|template| !self.template_exists(template)) {
            return None;
        }
        let template = page.template.as_ref().map(|template| template.value.clone());
        if let Some(name) = template.as_deref().filter(|name| self.templates.contains_key(name)) {
            let what = format!("page `{}`", page.path.as_ref().map_or("", |path| &path.value));
            self.problems.extend(check::template(name, self.templates, &scope, &what));
            uses = union(uses, self.template_uses(name));
        }
        let nodes = compiled.into_iter().map(|(name, needs, kind)| {
            let (line, _) = self.file.place(name.span.start);
            Some(Node { name: name.value.clone(), line, needs, kind: kind? })
        });
        let asked = template.as_deref().and_then(|name| fragments::asked(name, self.templates));
        Some(Draft {
            pattern: pattern?,
            text: page.path.as_ref()?.value.clone(),
            takes: Takes::new(&page.takes),
            template,
            deadline: page.deadline,
            priority: page.priority,
            compress: page.compress,
            nodes: nodes.collect::<Option<_>>()?,
            uses,
            answers,
            answers_use,
            internal: page.internal,
            fragments: asked,
        })
    }

    fn pattern(&mut self, path: &At<String>) -> Option<Pattern> {
        match Pattern::parse(&path.value) {
            Ok(pattern) => Some(pattern),
            Err((message, hint)) => {
                self.problems.push(self.file.problem(path.span.clone(), message).hint(hint));
                None
            }
        }
    }

    /// The names of a page's nodes; complains about those that cannot be names.
    fn node_names<'p>(&mut self, page: &'p PageTable) -> Vec<&'p str> {
        let fetches = page.fetches.iter().map(|fetch| &fetch.name);
        let lets = page.lets.iter().map(|binding| &binding.name);
        let mut names: Vec<&str> = Vec::new();
        for name in fetches.chain(lets) {
            let text = name.value.as_str();
            let reserved = REQUEST_NAMES.contains(&text)
                || RESERVED.contains(&text)
                || check::TEMPLATE_NAMES.contains(&text)
                || self.functions.iter().any(|function| function == text);
            let message = if !is_name(text) {
                format!("`{text}` is not a name: letters, digits and underscores are")
            } else if reserved {
                format!("`{text}` already means something in templates")
            } else if names.contains(&text) {
                format!("`{text}` is both a fetch and a let")
            } else {
                names.push(text);
                continue;
            };
            let problem = self.file.problem(name.span.clone(), message);
            self.problems.push(problem.hint("give it another name"));
        }
        names
    }

    fn binding(&mut self, table: &LetTable, scope: &Scope<'_>) -> (Option<NodeKind>, Vec<Use>) {
        let text = &table.expression;
        let compiled = self.builder.expression(&Place::new(self.file, text), 0..text.value.len());
        let facts = self.take(compiled.map(|facts| (facts.clone(), vec![facts])));
        match facts {
            Some((facts, all)) => (Some(NodeKind::Let(facts.id)), self.known_names(all, scope)),
            None => (None, Vec::new()),
        }
    }

    /// The names that expressions use; complains about those there are not.
    fn known_names(&mut self, facts: Vec<ExpressionFacts>, scope: &Scope<'_>) -> Vec<Use> {
        let uses: Vec<Use> = facts.into_iter().flat_map(|facts| facts.uses).collect();
        for found in &uses {
            let trouble = match scope.trouble(found) {
                None if matches!(&*found.path, "errors" | "statuses") => Some((
                    format!(
                        "`{}` as a whole depends on the order in which fetches end",
                        found.path
                    ),
                    Some(format!("name the fetch: `{}.NAME`", found.path)),
                )),
                trouble => trouble,
            };
            if let Some((message, hint)) = trouble {
                let problem = self.file.problem(found.span.clone(), message);
                self.problems.push(problem.hint_if(hint));
            }
        }
        uses
    }

    fn take<T>(&mut self, compiled: Result<T, Vec<Problem>>) -> Option<T> {
        match compiled {
            Ok(compiled) => Some(compiled),
            Err(problems) => {
                self.problems.extend(problems);
                None
            }
        }
    }

    /// The nodes that must be there before what uses these names can begin.
    fn needs(&self, uses: &[Use], names: &[&str]) -> Vec<usize> {
        let named = uses.iter().filter_map(|found| match found.top() {
            "errors" | "statuses" => found.second(),
            top => Some(top),
        });
        let needs: BTreeSet<usize> =
            named.filter_map(|name| names.iter().position(|other| *other == name)).collect();
        needs.into_iter().collect()
    }

    fn cycle(&mut self, nodes: &[(&At<String>, Vec<usize>, Option<NodeKind>)]) {
        let needs: Vec<&[usize]> = nodes.iter().map(|(_, needs, _)| needs.as_slice()).collect();
        let Some(cycle) = find_cycle(&needs) else { return };
        let names: Vec<&str> =
            cycle.iter().filter_map(|at| Some(nodes.get(*at)?.0.value.as_str())).collect();
        let Some((name, ..)) = cycle.first().and_then(|at| nodes.get(*at)) else { return };
        let message = format!("these need each other: {}", names.join(" -> "));
        let problem = self.file.problem(name.span.clone(), message);
        self.problems.push(problem.hint("one of them must do without the other"));
    }

    fn template_exists(&mut self, template: &At<String>) -> bool {
        if self.known.contains(template.value.as_str()) {
            return true;
        }
        let name = &template.value;
        let (message, hint) = if name.starts_with('/') || name.split('/').any(|part| part == "..") {
            let hint = Some("write it relative to the site file".to_owned());
            (format!("the template `{name}` is outside of the site's folder"), hint)
        } else {
            let hint = suggestion(name, self.known.iter().copied());
            (format!("there is no template `{name}`"), hint)
        };
        self.problems.push(self.file.problem(template.span.clone(), message).hint_if(hint));
        false
    }

    fn template_uses(&self, name: &str) -> Uses {
        let (members, dynamic) = inherited::members(name, self.templates);
        if dynamic {
            return check::ALL_USES;
        }
        check::request_uses(members.iter().flat_map(|member| member.uses.iter().map(Use::top)))
    }

    fn router(&mut self, pages: &[PageTable], drafts: &[Option<Draft>]) -> Router {
        let mut router = Router::default();
        for (index, (page, draft)) in pages.iter().zip(drafts).enumerate() {
            let (Some(draft), Some(path)) = (draft, &page.path) else { continue };
            let Err(other) = router.insert(&draft.pattern, index) else { continue };
            let other = other.and_then(|other| pages.get(other)?.path.as_ref());
            let message = match other {
                Some(other) => {
                    let (line, _) = self.file.place(other.span.start);
                    let name = &self.file.name;
                    format!("the page `{}` ({name}:{line}) has these paths already", other.value)
                }
                None => "other pages have some of these paths already".to_owned(),
            };
            self.problems.push(self.file.problem(path.span.clone(), message));
        }
        router
    }

    /// Whether the fragments that templates name are there. Of a site with broken pages it cannot
    /// be told.
    fn fragments(&mut self, router: &Router, drafts: &[Option<Draft>]) {
        let drafts: Option<Vec<&Draft>> = drafts.iter().map(Option::as_ref).collect();
        let Some(drafts) = drafts else { return };
        let parts: Vec<fragments::Part<'_>> = drafts.iter().map(|draft| draft.part()).collect();
        let patterns: Vec<&str> = drafts.iter().map(|draft| draft.text.as_str()).collect();
        let wrong = fragments::check(self.templates, router, &parts, &patterns);
        self.problems.extend(wrong);
    }

    fn error_templates(&mut self, pages: &[PageTable]) {
        // What does not compile may take in anything.
        if self.templates.len() == self.known.len() {
            let of_pages = pages.iter().filter_map(|page| page.template.as_ref());
            let of_pages = of_pages.map(|template| template.value.as_str()).collect();
            self.problems.extend(error_page::never_used(self.templates, &of_pages));
        }
        for name in self.templates.keys().filter(|name| error_page::status(name).is_some()) {
            let scope =
                Scope { functions: self.functions, others: error_page::NAMES, ..Scope::default() };
            let wrong = check::template(name, self.templates, &scope, "an error page");
            self.problems.extend(wrong);
        }
    }
}

/// The cookies that pages of a site set: their values are read as they were.
fn own_cookies(pages: &[PageTable]) -> Arc<[String]> {
    let cookies = pages.iter().flat_map(|page| &page.answers.cookies);
    let names: BTreeSet<&String> = cookies.map(|cookie| &cookie.name.value).collect();
    names.into_iter().cloned().collect()
}

fn union(a: Uses, b: Uses) -> Uses {
    Uses {
        query: a.query | b.query,
        headers: a.headers | b.headers,
        cookies: a.cookies | b.cookies,
        request: a.request | b.request,
        session: a.session | b.session,
        form: a.form | b.form,
        statuses: a.statuses | b.statuses,
    }
}

/// Names of the context beside those of the request, and words of the language.
const RESERVED: &[&str] = &[
    "errors", "statuses", "now", "it", "index", "true", "false", "none", "True", "False", "None",
    "and", "or", "not", "in", "is", "if", "else",
];
