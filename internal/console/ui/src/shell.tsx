import AppLayoutToolbar from "@cloudscape-design/components/app-layout-toolbar";
import Box from "@cloudscape-design/components/box";
import BreadcrumbGroup from "@cloudscape-design/components/breadcrumb-group";
import { I18nProvider } from "@cloudscape-design/components/i18n";
import messages from "@cloudscape-design/components/i18n/messages/all.en";
import SideNavigation from "@cloudscape-design/components/side-navigation";
import TopNavigation from "@cloudscape-design/components/top-navigation";
import { createContext, Suspense, useContext, useEffect, useMemo, useRef, useState, type ReactNode } from "react";
import { useLocation, useNavigate } from "react-router";
import { appearance, apply, type Appearance } from "./appearance";
import { NotificationsProvider, useNotifications } from "./notifications";
import { at } from "./routes";
import { useSession } from "./session";

export type Crumb = { text: string; href: string };
const PageContext = createContext<(crumbs: Crumb[], width?: number) => void>(() => {});

/** usePage names the page: its title, and its breadcrumbs below Private CAs. The last crumb is the page itself. */
export function usePage(crumbs: Crumb[], maxContentWidth?: number) {
  const set = useContext(PageContext);
  const key = JSON.stringify(crumbs);
  useEffect(() => {
    set(JSON.parse(key) as Crumb[], maxContentWidth);
    const last = (JSON.parse(key) as Crumb[]).at(-1);
    document.title = `${last?.text ?? "Private CAs"} – chirograph`;
  }, [set, key, maxContentWidth]);
}

/** useFollow makes a Cloudscape link or item navigate without loading the page anew. */
export function useFollow() {
  const navigate = useNavigate();
  return (e: CustomEvent<{ href?: string; external?: boolean }>) => {
    if (e.detail.href && !e.detail.external) {
      e.preventDefault();
      navigate(e.detail.href.replace(/^\/console/, ""));
    }
  };
}

/** A Cloudscape href: the router's path as the browser knows it, so that it opens in a new tab, too. */
export const href = (path: string) => `/console${path}`;

/**
 * useHeadingFocus moves the focus to the new page's heading, so that a screen
 * reader begins there. A heading that comes later is waited for, until people
 * do something of their own.
 */
function useHeadingFocus(path: string) {
  const before = useRef(path);
  useEffect(() => {
    if (before.current === path) return; // the first page, which the browser has announced
    before.current = path;
    window.scrollTo(0, 0);
    const take = () => {
      const heading = document.querySelector<HTMLElement>("main h1");
      if (!heading) return false;
      heading.tabIndex = -1;
      heading.focus({ preventScroll: true });
      return true;
    };
    if (take()) return;
    const seen = new MutationObserver(() => take() && stop());
    const stop = () => {
      seen.disconnect();
      for (const event of ["keydown", "pointerdown"]) window.removeEventListener(event, stop, true);
    };
    seen.observe(document.body, { childList: true, subtree: true });
    for (const event of ["keydown", "pointerdown"]) window.addEventListener(event, stop, true);
    return stop;
  }, [path]);
}

export default function Shell({ children }: { children: ReactNode }) {
  return (
    <I18nProvider locale="en" messages={[messages]}>
      <NotificationsProvider>
        <Frame>{children}</Frame>
      </NotificationsProvider>
    </I18nProvider>
  );
}

function Frame({ children }: { children: ReactNode }) {
  const { session, settings, signOut } = useSession();
  const { bar } = useNotifications();
  const location = useLocation();
  const navigate = useNavigate();
  const follow = useFollow();
  const [page, setPage] = useState<{ crumbs: Crumb[]; width?: number }>({ crumbs: [] });
  const [look, setLook] = useState<Appearance>(appearance);
  const [open, setOpen] = useState(() => window.innerWidth > 1000);
  const set = useMemo(() => (crumbs: Crumb[], width?: number) => setPage({ crumbs, width }), []);
  const name = session?.arn.split(/[:/]/).slice(6).join("/") ?? "";
  useHeadingFocus(location.pathname);

  function choose(id: string) {
    if (id === "sign-out") return void signOut();
    const next: Appearance = id === "comfortable" || id === "compact" ? { ...look, density: id } : { ...look, mode: id as Appearance["mode"] };
    setLook(next);
    apply(next);
  }
  const option = (id: string, text: string) => ({ id, text, itemType: "checkbox" as const, checked: look.mode === id || look.density === id });
  return (
    <PageContext.Provider value={set}>
      <div id="top">
        <TopNavigation
          identity={{
            href: href(at.authorities),
            title: "chirograph",
            logo: { src: "/console/icon.svg", alt: "Logo" },
            onFollow: (e) => {
              e.preventDefault();
              navigate(at.authorities);
            },
          }}
          utilities={[
            {
              type: "menu-dropdown",
              iconName: "settings",
              ariaLabel: "Appearance",
              title: "Appearance",
              items: [
                { id: "modes", text: "Mode", items: [option("system", "As the system"), option("light", "Light"), option("dark", "Dark")] },
                { id: "densities", text: "Density", items: [option("comfortable", "Comfortable"), option("compact", "Compact")] },
              ],
              onItemClick: (e) => choose(e.detail.id),
            },
            {
              type: "menu-dropdown",
              iconName: "user-profile",
              text: `${name} @ ${session?.account ?? ""}`,
              title: session?.arn,
              description: `Account ${session?.account ?? ""}, ${session?.region ?? ""}`,
              items: [{ id: "sign-out", text: "Sign out" }],
              onItemClick: (e) => choose(e.detail.id),
            },
          ]}
        />
      </div>
      <AppLayoutToolbar
        headerSelector="#top"
        toolsHide
        navigationOpen={open}
        navigationWidth={210}
        onNavigationChange={(e) => setOpen(e.detail.open)}
        maxContentWidth={page.width}
        notifications={bar}
        stickyNotifications
        ariaLabels={{ navigation: "Side navigation", navigationClose: "Close side navigation", navigationToggle: "Open side navigation", notifications: "Notifications" }}
        navigation={
          <>
            <SideNavigation
              header={{ text: "Private CA", href: href(at.authorities) }}
              activeHref={href(location.pathname.startsWith(at.authorities) ? at.authorities : location.pathname)}
              onFollow={(e) => {
                follow(e);
                if (window.innerWidth <= 688) setOpen(false); // it covers the page there
              }}
              items={[
                { type: "link", text: "Private CAs", href: href(at.authorities) },
                { type: "link", text: "Certificate templates", href: href(at.templates) },
              ]}
            />
            {settings && (
              <Box padding={{ horizontal: "xl", vertical: "m" }} color="text-body-secondary" fontSize="body-s">
                chirograph {settings.version}
              </Box>
            )}
          </>
        }
        breadcrumbs={
          <BreadcrumbGroup
            ariaLabel="Breadcrumbs"
            onFollow={follow}
            items={[{ text: "Private CAs", href: href(at.authorities) }, ...page.crumbs.map((c) => ({ ...c, href: href(c.href) }))]}
          />
        }
        content={<Suspense fallback={null}>{children}</Suspense>}
      />
    </PageContext.Provider>
  );
}
