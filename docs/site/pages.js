// What the theme adds when a page is shown, made right for keyboards and screen readers.
const mend = () => {
  // A table that is too wide scrolls, also by the keyboard.
  for (const wrap of document.querySelectorAll(".md-typeset__scrollwrap:not([tabindex])")) {
    wrap.tabIndex = 0;
  }
  // The buttons of a code block are no navigation: a landmark for each hides those of the page.
  for (const buttons of document.querySelectorAll("nav.md-code__nav:not([role])")) {
    buttons.setAttribute("role", "none");
  }
};
new MutationObserver(mend).observe(document.documentElement, { childList: true, subtree: true });
mend();
