import AppLayout from "@cloudscape-design/components/app-layout";
import BreadcrumbGroup from "@cloudscape-design/components/breadcrumb-group";
import { I18nProvider } from "@cloudscape-design/components/i18n";
import messages from "@cloudscape-design/components/i18n/messages/all.en";
import SideNavigation from "@cloudscape-design/components/side-navigation";
import TopNavigation from "@cloudscape-design/components/top-navigation";
import { createContext, Suspense, useContext, useEffect, useMemo, useState, type ReactNode } from "react";
import { useLocation, useNavigate } from "react-router";
import { appearance, apply, type Appearance } from "./appearance";
import { useNotifications } from "./notifications";
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
    document.title = last ? `${last.text} – chirograph` : "chirograph";
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

export function Shell({ children }: { children: ReactNode }) {
  const { session, settings, signOut } = useSession();
  const { bar } = useNotifications();
  const location = useLocation();
  const follow = useFollow();
  const [page, setPage] = useState<{ crumbs: Crumb[]; width?: number }>({ crumbs: [] });
  const [look, setLook] = useState<Appearance>(appearance);
  const [open, setOpen] = useState(() => window.innerWidth > 1000);
  const set = useMemo(() => (crumbs: Crumb[], width?: number) => setPage({ crumbs, width }), []);
  const name = session?.arn.split(/[:/]/).slice(6).join("/") ?? "";

  function choose(id: string) {
    if (id === "sign-out") return void signOut();
    const next: Appearance = id === "comfortable" || id === "compact" ? { ...look, density: id } : { ...look, mode: id as Appearance["mode"] };
    setLook(next);
    apply(next);
  }
  return (
    <PageContext.Provider value={set}>
      <div id="top">
        <TopNavigation
          identity={{ href: href(at.authorities), title: "chirograph", logo: { src: "/console/icon.svg", alt: "chirograph" }, onFollow: follow }}
          utilities={[
            {
              type: "menu-dropdown",
              iconName: "settings",
              ariaLabel: "Appearance",
              title: "Appearance",
              items: [
                {
                  id: "modes",
                  text: "Mode",
                  items: [
                    { id: "system", text: "As the system", itemType: "checkbox", checked: look.mode === "system" },
                    { id: "light", text: "Light", itemType: "checkbox", checked: look.mode === "light" },
                    { id: "dark", text: "Dark", itemType: "checkbox", checked: look.mode === "dark" },
                  ],
                },
                {
                  id: "densities",
                  text: "Density",
                  items: [
                    { id: "comfortable", text: "Comfortable", itemType: "checkbox", checked: look.density === "comfortable" },
                    { id: "compact", text: "Compact", itemType: "checkbox", checked: look.density === "compact" },
                  ],
                },
              ],
              onItemClick: (e) => choose(e.detail.id),
            },
            { type: "button", text: settings?.region ?? "", disableUtilityCollapse: false },
            {
              type: "menu-dropdown",
              iconName: "user-profile",
              text: name,
              description: `Account ${session?.account ?? ""}`,
              items: [
                { id: "arn", text: session?.arn ?? "", disabled: true },
                { id: "sign-out", text: "Sign out" },
              ],
              onItemClick: (e) => choose(e.detail.id),
            },
          ]}
          i18nStrings={{ overflowMenuTriggerText: "More", overflowMenuTitleText: "All" }}
        />
      </div>
      <AppLayout
        headerSelector="#top"
        toolsHide
        navigationOpen={open}
        onNavigationChange={(e) => setOpen(e.detail.open)}
        maxContentWidth={page.width}
        notifications={bar}
        stickyNotifications
        ariaLabels={{ navigation: "Side navigation", navigationClose: "Close side navigation", navigationToggle: "Open side navigation", notifications: "Notifications" }}
        navigation={
          <SideNavigation
            header={{ text: "Private CA", href: href(at.authorities) }}
            activeHref={href(location.pathname.startsWith(at.authorities) ? at.authorities : location.pathname)}
            onFollow={follow}
            items={[
              { type: "link", text: "Private CAs", href: href(at.authorities) },
              { type: "link", text: "Certificate templates", href: href(at.templates) },
              { type: "divider" },
              { type: "link", text: "API health", href: "/healthz", external: true },
            ]}
          />
        }
        breadcrumbs={
          <BreadcrumbGroup
            ariaLabel="Breadcrumbs"
            onFollow={follow}
            items={[{ text: "Private CAs", href: href(at.authorities) }, ...page.crumbs.map((c) => ({ ...c, href: href(c.href) }))]}
          />
        }
        content={
          <I18nProvider locale="en" messages={[messages]}>
            <Suspense fallback={null}>{children}</Suspense>
          </I18nProvider>
        }
      />
    </PageContext.Provider>
  );
}
