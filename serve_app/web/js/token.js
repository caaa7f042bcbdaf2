// The token: in this tab's session storage alone, so that it ends with the tab and is in no address.

const KEY = "privacy-engine.token";

export const token = () => sessionStorage.getItem(KEY);

export const keep = (text) => sessionStorage.setItem(KEY, text);

export const drop = () => sessionStorage.removeItem(KEY);
