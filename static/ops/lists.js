"use strict";
/*
 * Lists whose filters and pages are boosted (hx-boost): what htmx leaves out.
 *
 *   1 failures    what was asked for did not come: it is said, and what stands there is marked as from before
 *   2 focus       never lost when a swap takes the pressed link or button away
 *   3 filters     folded on narrow screens, open on wide ones
 */
(() => {
  const all = (selector, within = document) => Array.from(within.querySelectorAll(selector));

  /* ------------------------------------------------------------ 1 failures */
  /** What happened, in words. */
  function whatFailed(event) {
    if (event.type === "htmx:timeout") return "The portal did not answer in time.";
    if (event.type === "htmx:sendError") return "The connection to the portal is lost.";
    return `The portal answered with error ${event.detail.xhr.status}.`;
  }

  function failureText(event) {
    const text = document.createElement("p");
    const link = document.createElement("a");
    link.href = event.detail.pathInfo.finalRequestPath;
    link.textContent = "Load it again as a whole page";
    text.append(`${whatFailed(event)} What is shown here is from before: it is not what you asked for. `, link, ".");
    return text;
  }

  function sayFailure(event) {
    const { target, boosted, elt } = event.detail;
    if (!boosted || !target) return;
    clearFailure(target);
    const alert = document.createElement("div");
    alert.className = "banner banner--bad list-failure";
    alert.dataset.failureOf = target.id;
    alert.setAttribute("role", "alert");
    const form = target.querySelector("form[method=get]");
    if (form) form.after(alert);
    else target.before(alert);
    alert.append(failureText(event)); // after it stands there, so that it is read out
    alert.toggleAttribute("data-of-form", elt.matches("form"));
    target.setAttribute("data-not-asked", "");
    alert.scrollIntoView({ block: "nearest" });
  }

  function clearFailure(target) {
    all(".list-failure").filter((alert) => alert.dataset.failureOf === target.id).forEach((alert) => alert.remove());
    document.getElementById(target.id)?.removeAttribute("data-not-asked");
  }

  for (const name of ["htmx:responseError", "htmx:sendError", "htmx:timeout"]) document.addEventListener(name, sayFailure);

  /* A poll brings what the address asks for; what stands in a form that failed it does not. */
  document.addEventListener("htmx:afterRequest", (event) => {
    const { target, boosted, successful } = event.detail;
    const ofForm = target?.id && all(".list-failure[data-of-form]").some((alert) => alert.dataset.failureOf === target.id);
    if (target?.id && successful && (boosted || !ofForm)) clearFailure(target);
  });

  /* ------------------------------------------------------------ 2 focus */
  document.addEventListener("htmx:afterSettle", (event) => {
    if (!event.detail.boosted || document.activeElement !== document.body) return;
    const list = document.getElementById(event.detail.target.id)?.closest("[aria-labelledby]");
    const heading = list && document.getElementById(list.getAttribute("aria-labelledby"));
    if (!heading) return;
    heading.tabIndex = -1;
    heading.focus({ preventScroll: true });
  });

  /* ------------------------------------------------------------ 3 filters */
  const wide = window.matchMedia("(min-width: 801px)");

  /* Folding is for narrow screens alone; what has a mistake in it comes open from the server. */
  const unfold = () => { if (wide.matches) all("details.fold:not([open])").forEach((fold) => { fold.open = true; }); };

  wide.addEventListener("change", () => {
    if (wide.matches) unfold();
    else all("details.fold").forEach((fold) => { fold.open = fold.contains(document.activeElement); });
  });
  document.addEventListener("htmx:afterSettle", unfold);
  unfold();
})();
