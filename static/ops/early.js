"use strict";
// Runs before the body is drawn, so that what only works with JavaScript never flashes open first.
document.documentElement.classList.add("js");
