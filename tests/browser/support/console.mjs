// The console of the page.

/** Writes over what stands there, as by pasting, and runs it. */
export async function ask(page, sql) {
  await page.locator('#sql').focus();
  await page.keyboard.press('Control+A');
  await page.keyboard.press('Delete');
  await page.keyboard.insertText(sql);
  await page.keyboard.press('Control+Enter');
}
