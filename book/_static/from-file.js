// Below each result, the search shows some lines of its page, which it fetches. A browser forbids that to pages that
// were opened as files, so there the search names the pages alone.
if (location.protocol === "file:") DOCUMENTATION_OPTIONS.SHOW_SEARCH_SUMMARY = false;
